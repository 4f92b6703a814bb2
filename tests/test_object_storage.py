"""Checkpoints and prompt files in object storage: a run goes on from there when its machine is gone."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from etils import epath

from entropy_rl.data.prompt_files import PromptFile, read_prompts
from entropy_rl.data.schemas import GSM8K, Columns
from entropy_rl.data.text_pairs import read_text_pairs
from entropy_rl.observability.run_record import read_rows
from entropy_rl.paths import is_remote, reach
from entropy_rl.train import train
from tests.fake_storage import FakeBuckets, fake_google_storage
from tests.runs import make_config
from tests.test_train import without_times

HISTORY = "entropy_history_short.json"


@pytest.fixture
def storage(monkeypatch):
    """gs:// and s3:// in memory, for epath and, gs:// alone, for TensorStore."""
    for scheme in ("gcs", "gs", "s3"):
        fsspec.register_implementation(scheme, FakeBuckets, clobber=True)
    epath.backend.fsspec_backend._get_filesystem.cache_clear()
    with fake_google_storage() as address:
        monkeypatch.setenv("TENSORSTORE_GCS_HTTP_URL", address)
        monkeypatch.setenv("GOOGLE_AUTH_TOKEN_FOR_TESTING", "anybody")
        # orbax asks Google's own package whether a bucket has real folders.
        bucket = SimpleNamespace(hierarchical_namespace_enabled=False)
        client = SimpleNamespace(get_bucket=lambda name: bucket)
        google = SimpleNamespace(storage=SimpleNamespace(Client=lambda: client))
        monkeypatch.setitem(sys.modules, "google.cloud", google)
        yield FakeBuckets(skip_instance_cache=True)


def short_run(folder: Path, **changes):
    return make_config(folder, evaluation=None, warm_start=None, num_steps=4, **changes)


def steps_of(config):
    return sorted(int(path.name) for path in reach(config.checkpoints).iterdir() if path.name.isdigit())


def test_a_run_goes_on_from_object_storage_when_its_folder_is_gone(storage, tmp_path):
    config = short_run(tmp_path, checkpoint_folder="gs://bucket/runs")
    run = config.runs_folder / config.name
    train(config, resume=True)  # there is nothing to go on from: it begins
    assert not any((run / "checkpoints").iterdir())
    assert steps_of(config) == [2, 4]
    expected = json.loads((run / HISTORY).read_bytes())
    rows = without_times(read_rows(run / "metrics.jsonl"))

    storage.rm("/bucket/runs/short/checkpoints/4", recursive=True)
    shutil.rmtree(run)
    train(config, resume=True)
    assert without_times(read_rows(run / "metrics.jsonl")) == rows and len(rows) == 4
    assert json.loads((run / HISTORY).read_bytes()) == expected and len(expected) == 4
    assert steps_of(config) == [2, 4]


def test_checkpoints_of_an_earlier_run_are_not_taken_over_unasked(storage, tmp_path):
    config = short_run(tmp_path, checkpoint_folder="gs://bucket/runs")
    storage.pipe_file("/bucket/runs/short/checkpoints/left", b"")
    with pytest.raises(ValueError, match="gs://bucket/runs/short/checkpoints holds a run already"):
        train(config)
    train(replace(config, num_steps=2), overwrite=True)
    assert not storage.exists("/bucket/runs/short/checkpoints/left")


def test_checkpoints_on_s3_are_refused_at_once(tmp_path):
    with pytest.raises(ValueError, match="orbax cannot write arrays to s3://"):
        short_run(tmp_path, checkpoint_folder="s3://bucket/runs")


@pytest.mark.parametrize("scheme", ["gs", "s3"])
def test_prompt_files_are_read_from_buckets(storage, tmp_path, scheme):
    row = {"prompt": "1+1?", "answer": "2"}
    storage.pipe_file("/bucket/a.jsonl", json.dumps(row).encode())
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "a.parquet")
    storage.pipe_file("/bucket/a.parquet", (tmp_path / "a.parquet").read_bytes())
    for suffix in ("jsonl", "parquet"):
        path = epath.Path(f"{scheme}://bucket/a.{suffix}")
        (prompt,) = read_prompts(PromptFile(path=path, schema=Columns())).prompts
        assert (prompt.text, prompt.answer) == ("1+1?", "2")
        assert prompt.origin == f"{scheme}://bucket/a.{suffix}:1"
    with pytest.raises(ValueError, match="absent.jsonl does not"):
        read_prompts(PromptFile(path=epath.Path(f"{scheme}://bucket/absent.jsonl"), schema=GSM8K()))


def test_demonstrations_are_read_from_buckets(storage):
    storage.pipe_file("/bucket/d.jsonl", b'{"prompt": "a", "completion": "b"}')
    assert read_text_pairs(epath.Path("gs://bucket/d.jsonl")) == [("a", "b")]


def test_an_address_that_pathlib_has_spoilt_is_refused():
    with pytest.raises(ValueError, match="two slashes"):
        reach(Path("gs://bucket/a.jsonl"))


def test_local_paths_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert reach("a/b") == tmp_path / "a/b" and not is_remote("a/b") and is_remote("s3://a/b")


def test_a_missing_package_is_named(monkeypatch):
    def absent(*args, **kwargs):
        raise ImportError("Please install gcsfs")

    monkeypatch.setattr(fsspec, "filesystem", absent)
    epath.backend.fsspec_backend._get_filesystem.cache_clear()
    with pytest.raises(ValueError, match="gcsfs for gs://"):
        reach("gs://bucket/a")

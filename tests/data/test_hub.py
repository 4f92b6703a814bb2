"""Data sets by name: by a stand-in for the package `datasets`, and by the real one where it is installed."""

import sys
from types import ModuleType

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from entropy_rl.data.hub import HubDataset
from entropy_rl.data.prompt_files import read_prompts
from entropy_rl.data.schemas import GSM8K

ROWS = [
    {"question": "Two and two?", "answer": "#### 4", "picture": None},
    {"question": "Six and one?", "answer": "#### 7", "picture": None},
    {"question": "Two and two?", "answer": "#### 4", "picture": None},
    {"question": "Nothing?", "answer": "none", "picture": None},
]
GSM8K_MAIN = HubDataset(repository="openai/gsm8k", subset="main", split="test", schema=GSM8K())


class Table(list):
    @property
    def column_names(self):
        return list(self[0])

    def select_columns(self, names):
        return Table({name: row[name] for name in names} for row in self)


@pytest.fixture
def datasets(monkeypatch):
    """A stand-in whose `load_dataset` keeps what it was asked for and returns ROWS."""
    module, module.asked = ModuleType("datasets"), []

    def load_dataset(*args, **options):
        module.asked.append((args, options))
        return Table(ROWS)

    module.load_dataset = load_dataset
    monkeypatch.setitem(sys.modules, "datasets", module)
    return module


def test_a_data_set_is_read_by_name_subset_and_split(datasets):
    report = read_prompts(GSM8K_MAIN)
    assert datasets.asked == [(("openai/gsm8k", "main"), {"split": "test", "revision": None})]
    assert [prompt.answer for prompt in report.prompts] == ["4", "7"] and report.num_duplicates == 1
    assert [prompt.origin for prompt in report.prompts] == [f"openai/gsm8k/main/test:{row}" for row in (1, 2)]
    assert report.malformed[0].startswith("openai/gsm8k/main/test:4: ")


def test_only_the_columns_of_the_schema_are_decoded(datasets):
    assert all(set(row) == {"question", "answer"} for _, row in GSM8K_MAIN.rows())


@pytest.mark.parametrize(
    "error", [ConnectionError("no route"), ValueError("no such split"), FileNotFoundError()]
)
def test_a_data_set_that_cannot_be_had_says_what_to_do(datasets, monkeypatch, error):
    def refuse(*args, **options):
        raise error

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(ValueError, match=rf"gsm8k/main/test must be.* cannot: {error}; .*as PromptFile"):
        read_prompts(GSM8K_MAIN)


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ValueError, match=r"pip install \"entropy-rl\[hub\]\""):
        read_prompts(GSM8K_MAIN)


def test_the_real_package_reads_a_folder_of_parquet(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets", reason="the package datasets is absent")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "data").mkdir()
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "data" / "train.parquet")
    source = HubDataset(repository=str(tmp_path / "data"), schema=GSM8K())
    assert [prompt.answer for prompt in read_prompts(source).prompts] == ["4", "7"]
    with pytest.raises(ValueError, match="Unknown split"):
        read_prompts(HubDataset(repository=str(tmp_path / "data"), split="absent", schema=GSM8K()))

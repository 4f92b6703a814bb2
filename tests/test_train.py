"""Real short runs: what they leave, a real kill and resume, skipping to a stop, warnings."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import jax
import pytest

from entropy_rl.config import BatchConfig
from entropy_rl.data.tasks import CountdownTask
from entropy_rl.dynamic_sampling import DynamicSampling
from entropy_rl.objectives import PPOClip, Regularizer
from entropy_rl.observability.metric_names import unknown_names
from entropy_rl.observability.run_record import read_rows
from entropy_rl.parallelism import MeshConfig
from entropy_rl.train import introduction, keep_compiled_programs, train, warn_about
from entropy_rl.training.layout import Packed, Padded
from entropy_rl.training.optimizer import AdamW
from entropy_rl.workbench import RunState, Workbench, take_step
from tests.processes.job import EvenLength, job
from tests.processes.starting import environment
from tests.runs import make_config

ROOT = Path(__file__).resolve().parents[1]
TIMES = ("seconds/", "throughput/")


def without_times(rows: list[dict]) -> list[dict]:
    return [{name: value for name, value in row.items() if not name.startswith(TIMES)} for row in rows]


def rollouts_of(run: Path) -> dict[str, bytes]:
    """Its recorded rollouts by the names of their files."""
    return {path.name: path.read_bytes() for path in sorted((run / "rollouts").iterdir())}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run that never stopped: (its configuration, its summary)."""
    config = make_config(tmp_path_factory.mktemp("whole"))
    return config, train(config)


def test_a_run_leaves_its_files(finished):
    config, summary = finished
    folder = config.runs_folder / config.name
    rows = read_rows(folder / "metrics.jsonl")
    history = json.loads((folder / f"entropy_history_{config.name}.json").read_text())
    assert [row["step"] for row in rows] == [entry["step"] for entry in history] == list(range(1, 8))
    assert [row["policy/entropy"] for row in rows] == [entry["entropy"] for entry in history]
    assert json.loads((folder / "config.json").read_text())["objective"]["kind"] == "KLCov"
    assert json.loads((folder / "summary.json").read_text()) == summary
    assert {p.stem for p in (folder / "plots").glob("*.png")} >= {"reward", "entropy", "length", "covariance"}
    assert list((folder / "tensorboard").glob("events.*"))


def test_every_metric_of_a_run_is_explained_and_sane(finished):
    config, _ = finished
    rows = read_rows(config.runs_folder / config.name / "metrics.jsonl")
    for row in rows:
        assert unknown_names(row) == ()
        assert "seconds/reshard" not in row  # one device, f32: there is nothing to do
        assert 0 < row["policy/entropy"] < 3.2  # log 23 = 3.14
        assert row["mismatch/logp_gap_max"] < 1e-5
        assert row["selection/quota"] == row["selection/selected"]
        assert 1 <= row["length/min"] <= row["length/max"] <= config.task.max_response_tokens
    assert "heldout/pass@2" in rows[-1] and "heldout/accuracy" not in rows[0]


@pytest.mark.slow
def test_a_step_on_a_mesh_tells_what_laying_the_parameters_out_for_sampling_took(tmp_path):
    batch = BatchConfig(prompts_per_step=4, samples_per_prompt=3, prompts_per_update=4, layout=Padded())
    config = job(tmp_path, "mesh", MeshConfig(fsdp=2), batch=batch, objective=PPOClip())
    bench = Workbench.of(config)
    state = RunState(learned=bench.learner.init(bench.start.params), surplus=None)
    _, metrics, _ = take_step(bench, EvenLength(), state, 1)
    assert 0 < metrics["seconds/reshard"] < metrics["seconds/step"]
    assert unknown_names(metrics) == ()


def test_an_existing_run_is_not_overwritten_unasked(finished):
    with pytest.raises(ValueError, match="overwrite"):
        train(finished[0])


CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.runs import make_config, make_dynamic_config
from entropy_rl.train import train
train({config}(Path({folder!r}), checkpoint_every_steps=2), resume={resume})
"""


def start_child(folder: Path, config: str, *, resume: bool) -> subprocess.Popen:
    code = CHILD.format(root=str(ROOT), folder=str(folder), config=config, resume=resume)
    command = [sys.executable, "-c", code]
    return subprocess.Popen(command, cwd=ROOT, env=environment(num_devices=8), stdout=subprocess.DEVNULL)


def killed_and_resumed(folder: Path, config: str) -> Path:
    """metrics.jsonl of a run of 7 steps that SIGKILL ended after 3 steps or more, and that then went on."""
    metrics = folder / "runs" / "short" / "metrics.jsonl"
    child = start_child(folder, config, resume=False)
    deadline = time.monotonic() + 300
    while not (metrics.is_file() and metrics.read_bytes().count(b"\n") >= 3):
        assert child.poll() is None and time.monotonic() < deadline, "the run ended before it could be killed"
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    killed_at = len(read_rows(metrics))
    assert 3 <= killed_at < 7
    assert start_child(folder, config, resume=True).wait(timeout=300) == 0
    return metrics


def test_a_killed_and_resumed_run_equals_one_that_never_stopped(finished, tmp_path):
    metrics = killed_and_resumed(tmp_path, "make_config")
    config, _ = finished
    whole = config.runs_folder / config.name
    assert without_times(read_rows(metrics)) == without_times(read_rows(whole / "metrics.jsonl"))
    history = "entropy_history_short.json"
    assert (metrics.parent / history).read_bytes() == (whole / history).read_bytes()
    assert rollouts_of(metrics.parent) == rollouts_of(whole) != {}


def test_a_run_begins_by_telling_which_prompts_were_left_out_and_how_it_samples(tmp_path):
    @dataclass(frozen=True, kw_only=True)
    class LossyTask(CountdownTask):
        def train_prompts(self, tokenizer):
            lost = dict(num_duplicates=1017, num_contradictions=11, malformed=["x.jsonl:3: no JSON"] * 2)
            return replace(CountdownTask.train_prompts(self, tokenizer), **lost)

    small = dict(num_train_prompts=31, num_heldout_prompts=5)
    plain = make_config(tmp_path, task=CountdownTask(**small), warm_start=None)
    said = introduction(Workbench.of(plain))
    assert "; 31 prompts; a step is 4 prompts x 3 samples and 2 updates; the first" in said
    dynamic = replace(plain, task=LossyTask(**small), dynamic_sampling=DynamicSampling(max_gen_batches=7))
    said = introduction(Workbench.of(dynamic))
    left_out = "1,006 held out or duplicates, 11 duplicates with another answer, 2 malformed"
    assert f"; 31 prompts (left out: {left_out}); a step" in said
    assert "updates, found by dynamic sampling (RewardsDiffer) in at most 7 batches of 4; the first" in said


@pytest.mark.parametrize(("platform", "named"), [("cpu", None), ("tpu", None), ("gpu", "/somewhere")])
def test_accelerators_keep_what_they_compile_beside_the_checkpoints(tmp_path, monkeypatch, platform, named):
    set_to = {}
    monkeypatch.setattr(jax, "default_backend", lambda: platform)
    monkeypatch.setattr(
        jax, "config", SimpleNamespace(jax_compilation_cache_dir=named, update=set_to.__setitem__)
    )
    keep_compiled_programs(make_config(tmp_path, checkpoint_folder=str(tmp_path / "shared")))
    folder = str(tmp_path / "shared" / ".compiled")
    assert set_to == ({"jax_compilation_cache_dir": folder} if (platform, named) == ("tpu", None) else {})


def test_updates_that_stop_being_finite_stop_the_run(tmp_path):
    config = make_config(
        tmp_path,
        optimizer=AdamW(learning_rate=1e30),
        objective=PPOClip(),
        regularizer=Regularizer(entropy_coef=0.1),  # an untrained policy earns no reward, hence no gradient
        evaluation=None,
        max_skipped_updates=2,
    )
    with pytest.raises(RuntimeError, match="not finite"):
        train(config)
    rows = read_rows(config.runs_folder / config.name / "metrics.jsonl")
    assert sum(row["optimizer/skipped_updates"] for row in rows) >= 2


def test_kl_cov_with_one_update_a_rollout_warns(tmp_path):
    batch = BatchConfig(prompts_per_step=4, samples_per_prompt=3, prompts_per_update=4)
    with pytest.warns(UserWarning, match="does nothing"):
        warn_about(make_config(tmp_path, batch=batch))


def test_a_budget_of_tokens_that_is_far_from_whole_rows_warns(tmp_path, recwarn):
    config = make_config(tmp_path)
    row = config.task.max_prompt_tokens + config.task.max_response_tokens
    for budget, warned in ((2 * row, False), (20 * row - 1, False), (2 * row - 1, True)):
        layout = Packed(tokens_per_device=budget, tokens_per_row=row)
        warn_about(replace(config, batch=replace(config.batch, layout=layout)))
        assert bool(recwarn) == warned
    assert f"rounded down to 1 rows of {row}, {row}" in str(recwarn[0].message)


def test_batches_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="prompts_per_update"):
        BatchConfig(prompts_per_step=6, prompts_per_update=4)

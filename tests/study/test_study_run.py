"""A whole study at miniature size: killed, resumed, shared between processes, drawn from what is kept."""

import os
import shutil
import signal
import subprocess
import sys

import jax
import pytest

import entropy_rl.run_report
import entropy_rl.train
from entropy_rl.study import stages, worker
from entropy_rl.study.curves import load_runs
from entropy_rl.workbench import take_step
from tests.study.miniature import make_study

pytestmark = pytest.mark.slow  # seven short trainings

COMPILED = "/jax/core/compile/backend_compile_duration"


class Killed(BaseException):
    """What no code catches: the process is gone."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The study, tuned, made and drawn without a stop: (study, folder, output, compilations of each run)."""
    folder = tmp_path_factory.mktemp("study")
    study, output = make_study(folder, num_settings=1), folder / "output"
    compilations: dict[str, int] = {}
    count = 0

    def listen(event, duration, **details):
        nonlocal count
        count += event == COMPILED

    def counted(config, **flags):
        nonlocal count
        count = 0
        summary = entropy_rl.train.train(config, **flags)
        compilations[config.name] = count
        return summary

    jax.monitoring.register_event_duration_secs_listener(listen)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "train", counted)
        patch.setattr(entropy_rl.run_report, "draw_run", lambda path: [])
        for stage in (stages.tune, stages.final, stages.collect):
            stage(study, folder / "runs", output)
    jax.monitoring.unregister_event_duration_listener(listen)
    return study, folder / "runs", output, compilations


def test_a_study_leaves_its_table_its_curves_and_its_figures(finished):
    _, _, output, _ = finished
    names = {"tuning.json", "development.json", "final.json", "table.md"}
    figures = {"overview.png", "entropy.png", "heldout.png", "law.png"}
    assert {path.name for path in output.iterdir()} == names | figures
    assert len(load_runs(output / "development.json")) == 2 * 1
    final = load_runs(output / "final.json")
    assert [(run.method, run.seed) for run in final] == [
        ("GRPO", 1), ("GRPO", 2), ("KL-Cov", 1), ("KL-Cov", 2)
    ]  # fmt: skip
    assert all([step for step, _ in run.points["heldout/pass@8"]] == [0, 1, 2, 3] for run in final)
    assert final[0].points["heldout/pass@8"][0] == final[2].points["heldout/pass@8"][0], "one start"
    assert all(run.last("heldout/average@8") > 0 for run in final)
    table = (output / "table.md").read_text()
    for text in ("| KL-Cov | ", "| GRPO | ", "the warm start", "pass@8", "| verdict |"):
        assert text in table


def test_a_second_seed_compiles_nothing_but_its_random_start_which_a_warm_start_saves(finished):
    study, folder, output, compilations = finished
    runs = study.final_runs(folder, stages.chosen(output))
    second = {run.config.name: compilations[run.config.name] for run in runs if run.seed == 2}
    assert list(second.values()) == [1, 1], second


def test_the_table_and_the_figures_are_made_of_the_kept_curves_alone(finished, tmp_path):
    study, _, output, _ = finished
    for name in ("tuning.json", "final.json"):
        shutil.copy(output / name, tmp_path)
    stages.draw(study, tmp_path / "no runs", tmp_path)
    for name in ("table.md", "overview.png", "entropy.png", "heldout.png", "law.png"):
        assert (tmp_path / name).read_bytes() == (output / name).read_bytes()


def test_a_study_that_is_killed_goes_on_and_leaves_the_same_curves(finished, tmp_path, monkeypatch):
    study, folder, output, _ = finished
    runs = study.final_runs(tmp_path, stages.chosen(output))
    made: list[tuple[int, int]] = []
    monkeypatch.setattr(entropy_rl.run_report, "draw_run", lambda path: [])

    def die_in_the_second_run(bench, grader, state, step, on_pause):
        if len(made) == 5:
            raise Killed
        made.append((bench.config.seed, step))
        return take_step(bench, grader, state, step, on_pause)

    monkeypatch.setattr(entropy_rl.train, "take_step", die_in_the_second_run)
    with pytest.raises(Killed):
        worker.work(runs, tmp_path)
    assert [worker.is_done(run) for run in runs].count(True) == 1
    with pytest.raises(ValueError, match=r"2 of 2 are not"):
        stages.collect(study, tmp_path, output)

    monkeypatch.setattr(
        entropy_rl.train,
        "take_step",
        lambda bench, grader, state, step, on_pause: (
            made.append((bench.config.seed, step)) or take_step(bench, grader, state, step, on_pause)
        ),
    )
    worker.work(runs, tmp_path)
    assert len(made) == 4 * 3, "no step was made twice"
    kept = {(run.method, run.seed): run.points for run in load_runs(output / "final.json")}
    assert {(run.method, run.seed): run.points for run in stages.read_runs(runs)} == kept


def test_a_run_that_another_process_makes_is_left_to_it_and_free_when_that_is_killed(tmp_path):
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom entropy_rl.study.worker import claim\n"
        "with claim(Path(sys.argv[1])) as mine:\n    print(mine, flush=True)\n    time.sleep(600)\n"
    )
    lock = tmp_path / "locks" / "run"
    other = subprocess.Popen([sys.executable, "-c", program, str(lock)], stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "True\n"
    with worker.claim(lock) as is_mine:
        assert not is_mine
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    other.stdout.close()
    with worker.claim(lock) as is_mine:
        assert is_mine


def test_final_runs_need_tuning(tmp_path):
    with pytest.raises(ValueError, match="run --stage tune"):
        stages.final(make_study(tmp_path), tmp_path, tmp_path)
    with pytest.raises(ValueError, match="run --stage collect"):
        load_runs(tmp_path / "final.json")

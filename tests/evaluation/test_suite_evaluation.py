"""A suite asked of a tiny policy: what it writes, how it goes on, and what it refuses."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from entropy_rl.cli import main
from entropy_rl.evaluation import PAPER, pass_at_k
from entropy_rl.evaluation.records import RecordFile
from entropy_rl.parallelism import MeshConfig
from entropy_rl.rewards.rules import RewardRules
from entropy_rl.suite_evaluation import (
    SuiteEvaluation,
    evaluate_policy,
    read_all_problems,
    read_policy_on,
)
from tests.evaluation.parity_judge import is_right
from tests.evaluation.suites import NUM_GREEDY, NUM_SAMPLED, make_suite, save_tiny
from tests.processes.starting import environment

ROOT = Path(__file__).resolve().parents[2]
SUITE_FILE = """
from pathlib import Path
from tests.evaluation.parity_judge import is_right
from tests.evaluation.suites import suite_in

def get_suite():
    return suite_in(Path({folder!r}), seconds_of_judge=0.3)
"""


def records_of(output: Path, name: str) -> list[dict]:
    """Without what no two runs share."""
    lines = (output / "records" / f"{name}.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if not k.endswith("_seconds")} for line in lines]


def ask(suite, policy: Path, output: Path, **changes) -> str:
    settings = dict(defined=suite, dtype="float32", seed=0, output=output)
    evaluation = SuiteEvaluation(suite=suite, sequences_at_once=6)
    return evaluate_policy(changes.pop("evaluation", evaluation), policy, **(settings | changes))


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """(the suite, the policy's folder, the folder of results, the table)."""
    folder = tmp_path_factory.mktemp("suite")
    suite, policy = make_suite(folder / "data"), save_tiny(folder / "tiny")
    return suite, policy, folder / "out", ask(suite, policy, folder / "out")


def test_every_problem_has_a_record_of_all_its_samples(asked):
    _, _, output, _ = asked
    records = records_of(output, "sampled")
    assert [record["id"] for record in records] == list(range(NUM_SAMPLED - 1))
    assert records[0]["origin"].endswith("sampled/test.jsonl:1") and records[0]["answer"] == "3"
    samples = [sample for record in records for sample in record["samples"]]
    assert len(samples) == 3 * (NUM_SAMPLED - 1) and len({sample["text"] for sample in samples}) > 5
    for sample in samples:
        assert sample["correct"] == is_right(sample["text"]) == (sample["score"] == 1)
        assert sample["extracted"] == (sample["text"][:1] or None) and sample["method"] == "parity"
        assert sample["num_tokens"] == 6 if sample["truncated"] else 1 <= sample["num_tokens"] <= 6
        assert sample["timed_out"] is False
    assert [len(record["samples"]) for record in records_of(output, "greedy")] == [1] * NUM_GREEDY


def test_the_summary_is_what_the_records_say(asked):
    _, _, output, _ = asked
    summary = json.loads((output / "summary.json").read_text())
    sampled, greedy = (summary["benchmarks"][name] for name in ("sampled", "greedy"))
    correct_PG = np.array([[s["correct"] for s in r["samples"]] for r in records_of(output, "sampled")])
    assert sampled["num_problems"] == NUM_SAMPLED - 1 and sampled["num_too_long"] == 1
    assert sampled["mean@3"] == pytest.approx(correct_PG.mean())
    assert sampled["pass@2"] == pytest.approx(pass_at_k(correct_PG, 2))
    assert greedy["mean@1"] == greedy["pass@1"]
    interval = sampled["intervals"]["mean@3"]
    assert interval["low"] <= interval["mean"] <= interval["high"]
    mean = (sampled["mean@3"] + greedy["mean@1"]) / 2
    assert summary["unweighted_mean"]["mean"] == pytest.approx(mean)
    assert sampled["tokens_per_second"] > 0 and sampled["judged_per_second"] > 0


def test_the_table_is_written_and_printed(asked):
    suite, _, output, table = asked
    assert (output / "table.md").read_text() == table
    assert "| policy | Sampled | Greedy | Mean |" in table and "| tiny |" in table
    assert "T 0.6, top-p 1" in table and "| greedy |" in table
    assert "paper" not in table  # whose figures are of other benchmarks


def test_what_is_recorded_is_not_asked_again(asked, monkeypatch):
    suite, policy, output, table = asked
    monkeypatch.setattr(RecordFile, "append", lambda self, records: pytest.fail("asked again"))
    assert ask(suite, policy, output) == table


@pytest.mark.parametrize("num_kept", [0, 1, 2, 5])
def test_missing_records_are_made_as_they_were(asked, tmp_path, num_kept):
    suite, policy, output, _ = asked
    begun = tmp_path / "begun"
    (begun / "records").mkdir(parents=True)
    (begun / "settings.json").write_bytes((output / "settings.json").read_bytes())
    lines = (output / "records" / "sampled.jsonl").read_bytes().splitlines(keepends=True)
    (begun / "records" / "sampled.jsonl").write_bytes(b"".join(lines[:num_kept]) + lines[num_kept][:30])
    ask(suite, policy, begun)
    for name in ("sampled", "greedy"):
        assert records_of(begun, name) == records_of(output, name)


def test_no_token_depends_on_the_batch_or_on_other_benchmarks(asked, tmp_path):
    suite, policy, output, _ = asked
    alone = suite.only(["greedy"])
    evaluation = SuiteEvaluation(suite=alone, sequences_at_once=2)
    table = ask(alone, policy, tmp_path / "alone", evaluation=evaluation, defined=suite)
    assert records_of(tmp_path / "alone", "greedy") == records_of(output, "greedy")
    assert "so there is no mean" in table and "not asked, or not to the end: Sampled" in table
    assert json.loads((tmp_path / "alone" / "summary.json").read_text())["unweighted_mean"] is None


@pytest.mark.slow
def test_a_mesh_gives_the_same_records(asked, tmp_path):
    suite, policy, output, _ = asked
    evaluation = SuiteEvaluation(suite=suite, sequences_at_once=6, mesh=MeshConfig(data=2, fsdp=1, tensor=1))
    ask(suite, policy, tmp_path / "mesh", evaluation=evaluation)
    assert records_of(tmp_path / "mesh", "sampled") == records_of(output, "sampled")


def test_another_policy_suite_or_seed_is_refused_in_the_same_folder(asked, tmp_path):
    suite, policy, output, _ = asked
    before = (output / "settings.json").read_bytes()
    with pytest.raises(ValueError, match="was begun with another seed; give another --output"):
        ask(suite, policy, output, seed=1)
    with pytest.raises(ValueError, match="begun with another policy;"):
        ask(suite, save_tiny(tmp_path / "other", seed=1), output)
    with pytest.raises(ValueError, match="begun with other settings or problems of sampled, greedy;"):
        ask(suite.shortened(max_problems=3), policy, output)
    with pytest.raises(ValueError, match="begun with other rewards;"):
        ask(replace(suite, rewards=RewardRules()), policy, output)
    rows = (suite.data_folder / "greedy" / "test.jsonl").read_text()
    changed = replace(suite, data_folder=tmp_path / "data")
    make_suite(tmp_path / "data")
    (tmp_path / "data" / "greedy" / "test.jsonl").write_text(rows.replace("0,2=3:", "0,2=2:"))
    with pytest.raises(ValueError, match="begun with other settings or problems of greedy;"):
        ask(changed, policy, output)
    assert (output / "settings.json").read_bytes() == before


def test_a_part_and_then_the_whole_is_the_whole_and_nothing_is_asked_twice(asked, tmp_path, monkeypatch):
    suite, policy, output, table = asked
    begun = tmp_path / "begun"
    ask(suite.only(["greedy"]), policy, begun, defined=suite)
    before = (begun / "records" / "greedy.jsonl").read_bytes()
    ask(suite, policy, begun)
    assert (begun / "records" / "greedy.jsonl").read_bytes() == before
    assert json.loads((begun / "settings.json").read_text()) == json.loads(
        (output / "settings.json").read_text()
    )
    monkeypatch.setattr(RecordFile, "append", lambda self, records: pytest.fail("asked again"))
    for part in ("sampled", "greedy"):
        told = ask(suite.only([part]), policy, begun, defined=suite)
        assert told.splitlines()[6] == table.splitlines()[6] and "not asked" not in told
    summary = json.loads((begun / "summary.json").read_text())
    assert list(summary["benchmarks"]) == ["sampled", "greedy"] and summary["unweighted_mean"]


def test_a_part_that_was_asked_otherwise_is_told_as_it_was_asked(asked, tmp_path):
    suite, policy, _, _ = asked
    begun = tmp_path / "begun"
    ask(suite.only(["greedy"]).shortened(max_problems=2), policy, begun, defined=suite)
    told = ask(suite.only(["sampled"]), policy, begun, defined=suite)
    assert "- max_problems 2 instead of all: Greedy" in told and "| Greedy | 2 |" in told


def test_a_part_that_was_only_begun_is_told_as_not_asked(asked, tmp_path):
    suite, policy, output, _ = asked
    begun = tmp_path / "begun"
    ask(suite.only(["greedy"]), policy, begun, defined=suite)
    records = begun / "records" / "greedy.jsonl"
    lines = records.read_bytes().splitlines(keepends=True)
    records.write_bytes(b"".join(lines[:-1]))
    told = ask(suite.only(["sampled"]), policy, begun, defined=suite)
    assert "- not asked, or not to the end: Greedy" in told
    assert records.read_bytes() == b"".join(lines[:-1])


def test_a_benchmark_without_a_short_enough_prompt_is_refused(asked):
    suite, policy, _, _ = asked
    short = tuple(replace(benchmark, max_prompt_tokens=2) for benchmark in suite.benchmarks)
    with pytest.raises(ValueError, match="sampled must have a prompt of 1 to max_prompt_tokens=2"):
        ask(replace(suite, benchmarks=short), policy, policy.parent / "short")


@pytest.mark.slow
def test_a_killed_evaluation_goes_on_where_it_was(asked, tmp_path, capsys):
    _, policy, whole, _ = asked
    make_suite(tmp_path / "data")
    (tmp_path / "suite.py").write_text(SUITE_FILE.format(folder=str(tmp_path / "data")))
    flags = ["--policy", policy, "--suite", tmp_path / "suite.py", "--sequences-at-once", 6]
    command = ["evaluate", *map(str, [*flags, "--output", tmp_path / "out"])]
    process = subprocess.Popen(
        [sys.executable, "-m", "entropy_rl", *command],
        cwd=ROOT,
        env=environment(1),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    records = tmp_path / "out" / "records" / "sampled.jsonl"
    deadline = time.monotonic() + 120
    while not (records.is_file() and records.read_bytes().count(b"\n") >= 2):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert 2 <= records.read_bytes().count(b"\n") < NUM_SAMPLED - 1
    main(command)
    assert "| Sampled | 6 | 1 | 0 | 0 | 3 |" in capsys.readouterr().out
    for name in ("sampled", "greedy"):
        found, expected = (
            [record | {"origin": None} for record in records_of(output, name)]
            for output in (tmp_path / "out", whole)
        )
        assert found == expected


def test_the_figures_without_an_output_are_those_with_one(asked):
    suite, policy, output, _ = asked
    stored = read_policy_on(MeshConfig(), policy, "float32")
    problems = read_all_problems(suite, stored.tokenizer)
    evaluation = SuiteEvaluation(suite=suite, sequences_at_once=6)
    results = evaluation.results(stored, problems, jax.random.key(0))
    summary = json.loads((output / "summary.json").read_text())["benchmarks"]
    for result in results:
        assert result.numbers().items() <= summary[result.benchmark.name].items()


def test_the_command_says_how_each_of_its_forms_is_used(capsys):
    for flags, says in (([], "--from-policy"), (["--policy", "x"], "--sequences-at-once")):
        with pytest.raises(SystemExit):
            main(["evaluate", *flags, "--help"])
        text = capsys.readouterr().out
        assert says in text and "--policy DIR --suite paper" in text
    assert "--config" not in text


def test_the_command_asks_what_its_flags_say_with_as_many_judges(monkeypatch):
    called = []
    monkeypatch.setattr("entropy_rl.commands.evaluate.evaluate_policy", lambda *a, **k: called.append((a, k)))
    flags = [
        "--benchmarks",
        "amc23,aime24",
        "--num-samples",
        "3",
        "--num-judges",
        "7",
        "--data-folder",
        "there",
    ]
    main(["evaluate", "--policy", "a/mine", "--suite", "paper", *flags])
    (((evaluation, policy), settings),) = called
    suite = evaluation.suite
    assert [(b.name, b.num_samples) for b in suite.benchmarks] == [("aime24", 3), ("amc23", 3)]
    assert policy == Path("a/mine") and suite.num_judges == 7
    assert str(suite.file_of(suite.benchmarks[0]).path) == "there/aime24/test.jsonl"
    assert len(settings["defined"].benchmarks) == 7 and settings["defined"].num_judges == PAPER.num_judges
    assert settings["output"] == Path("evaluations") / "mine-paper"


def test_a_policy_that_is_not_there_is_answered_in_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", f"--policy={tmp_path / 'none'}", "--output", str(tmp_path / "out")])
    assert stop.value.code == 2 and "none" in capsys.readouterr().err

"""The benchmarks as commands, at sizes that take no time."""

import io
import json
from contextlib import redirect_stdout
from dataclasses import replace

import pytest

from entropy_rl.bench import kernels
from entropy_rl.bench.step import WORKLOADS
from entropy_rl.cli import main
from entropy_rl.models.config import QWEN2_5
from tests.policies import TINY


def printed(*args: str) -> str:
    with redirect_stdout(io.StringIO()) as out:
        main(["bench", *args])
    return out.getvalue()


@pytest.fixture
def small_heads(monkeypatch):
    small = replace(QWEN2_5["0.5B"], hidden_size=13, vocab_size=131)
    monkeypatch.setitem(QWEN2_5, "0.5B", small)
    monkeypatch.setattr(kernels, "CEILING_COLUMNS", 31)
    return [
        "kernels",
        "--shapes",
        "0.5B",
        "--num-tokens",
        "7",
        "--repeats",
        "2",
        "--selection-log2-tokens",
        "6",
        "8",
    ]


@pytest.mark.slow
def test_the_kernels_are_compared_with_all_logits_and_their_ceiling(small_heads, tmp_path):
    output = tmp_path / "kernels.json"
    report = json.loads(printed(*small_heads, "--as-json", "--output", str(output)))
    assert json.loads(output.read_text()) == report
    assert report["backend"] == "cpu"
    naive, tiles = report["token_statistics"]
    assert naive["implementation"] == kernels.NAIVE and naive["ratio_to_naive"] == 1
    assert tiles["implementation"] == "XLA tiles"
    assert tiles["ratio_to_naive"] == pytest.approx(tiles["seconds"] / naive["seconds"])
    for row in (naive, tiles):
        low, high = row["seconds_range"]
        assert 0 < low <= row["seconds"] <= high
        assert row["num_products"] == 3 and row["ratio_to_ceiling"] > 0
    assert [row["tokens"] for row in report["selection"]] == [64, 256]
    assert all(row["equals_sort"] for row in report["selection"])


def test_the_kernels_are_printed_as_tables(small_heads):
    statistics, selection = printed(*small_heads).strip().split("\n\n")
    assert [line.count("|") for line in statistics.splitlines()] == [8] * 4
    assert "7 x 13 x 131, float32" in statistics
    assert [line.count("|") for line in selection.splitlines()] == [7] * 4


@pytest.mark.slow
def test_the_kernels_are_compiled_for_a_tpu_that_is_not_there(tpu_devices):
    statistics, selection = printed("tpu", "--chips", "v5e").strip().split("\n\n")
    rows = [line.split("|")[1:-1] for line in statistics.splitlines()[2:]]
    assert [row[0].strip() for row in rows] == ["v5e", "v5e"]
    assert all(float(row[2]) <= 64 and float(row[-1]) <= 1.25 for row in rows)
    selected = [line.split("|")[1:-1] for line in selection.splitlines()[2:]]
    assert [[cell.strip() for cell in row[:2]] for row in selected] == [["v5e", "KLCov"], ["v5e", "ClipCov"]]


@pytest.mark.slow
def test_steps_that_record_are_timed_beside_equal_ones_that_do_not(monkeypatch):
    small = replace(TINY, vocab_size=37)  # more than the tokenizer of countdown has
    workload = replace(WORKLOADS["tiny"], architecture=small, num_prompts=3, num_samples=2, num_new_tokens=7)
    monkeypatch.setitem(WORKLOADS, "tiny", workload)
    report = json.loads(printed("observatory", "--workload", "tiny", "--repeats", "2"))
    assert report["tens_of_steps"] == 2
    for kind in ("clock", "processor"):
        low, high = report[kind]["recorded_over_bare_range"]
        assert 0 < low <= report[kind]["recorded_over_bare"] <= high
        assert report[kind]["bare_step_s"] > 0 and min(report[kind]["always_s"].values()) >= 0

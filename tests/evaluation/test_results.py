"""From records to figures and tables, with numbers that can be reckoned by hand."""

from dataclasses import replace

import numpy as np
import pytest

from entropy_rl.data.benchmarks import AIME24
from entropy_rl.evaluation import PAPER, Benchmark
from entropy_rl.evaluation.majority import MOST_SAMPLES
from entropy_rl.evaluation.problems import LeftOut
from entropy_rl.evaluation.records import Record
from entropy_rl.evaluation.results import BenchmarkResult, mean_of_means, unweighted_mean
from entropy_rl.evaluation.tables import suite_markdown

SAMPLED, GREEDY = PAPER.shortened(num_samples=3).benchmarks[0], PAPER.benchmarks[3]


def record(number: int, *samples: tuple[str | None, bool], num_tokens: int = 11) -> Record:
    """Of samples (answer, whether it is right)."""
    return {
        "id": number,
        "origin": f"here:{number}",
        "answer": "7",
        "sampling_seconds": 0.5,
        "judging_seconds": 0.25,
        "samples": [
            {
                "text": "so",
                "extracted": extracted,
                "correct": correct,
                "score": float(correct),
                "method": "test",
                "timed_out": False,
                "num_tokens": num_tokens,
                "truncated": extracted is None,
            }
            for extracted, correct in samples
        ],
    }


def result(benchmark: Benchmark, *records: Record) -> BenchmarkResult:
    left_out = LeftOut(num_too_long=2, num_duplicates=5, num_malformed=3)
    return BenchmarkResult.of(benchmark, left_out, records)


@pytest.fixture
def sampled() -> BenchmarkResult:
    return result(
        SAMPLED,
        record(0, ("7", True), ("7", True), ("5", False)),
        record(1, ("7", True), ("5", False), ("5", False), num_tokens=13),
        record(2, (None, False), (None, False), ("3", False)),
        record(3, ("7", True), (None, False), (None, False)),
    )


def test_figures_are_means_over_problems(sampled):
    numbers = sampled.numbers()
    for one_sample in ("mean@3", "pass@1", "maj@1"):
        assert numbers[one_sample] == pytest.approx(4 / 12)
    # Of three, two right ones are never missed by two samples; one right is missed in 1 of 3 choices.
    assert numbers["pass@2"] == pytest.approx((1 + 2 / 3 + 0 + 2 / 3) / 4)
    assert numbers["pass@3"] == pytest.approx(3 / 4)
    # 7 has two votes of three; 5 has them; nobody's answer is right; 7 has the only vote.
    assert numbers["maj@3"] == pytest.approx((1 + 0 + 0 + 1) / 4)
    assert numbers["num_problems"] == 4 and numbers["num_too_long"] == 2
    assert numbers["num_duplicates"] == 5 and numbers["num_malformed"] == 3
    assert numbers["mean_length_tokens"] == pytest.approx(11.5)
    assert numbers["truncated_fraction"] == numbers["unanswered_fraction"] == pytest.approx(4 / 12)
    assert sampled.speed() == {
        "sampling_seconds": 2.0,
        "judging_seconds": 1.0,
        "tokens_per_second": (9 * 11 + 3 * 13) / 2,
        "judged_per_second": 12.0,
    }


def test_intervals_hold_their_means_and_lie_between_the_extreme_problems(sampled):
    for estimate in sampled.estimates.values():
        assert 0 <= estimate.low <= estimate.mean <= estimate.high <= 1
    assert sampled.mean == sampled.estimates["mean@3"] and sampled.mean.low < sampled.mean.high


def test_intervals_are_reckoned_only_where_they_are_asked_for(sampled, monkeypatch):
    monkeypatch.setattr("entropy_rl.evaluation.results.resampled_means", lambda *_: pytest.fail("drawn anew"))
    assert mean_of_means([sampled]) == sampled.fraction_right == sampled.numbers()["mean@3"]


def test_a_response_whose_judging_was_stopped_is_not_one_without_an_answer():
    stopped = record(0, (None, False), (None, False), ("5", False))
    stopped["samples"][0]["timed_out"] = True
    numbers = result(SAMPLED, stopped).numbers()
    assert numbers["unanswered_fraction"] == pytest.approx(1 / 3) and numbers["judge_timeouts"] == 1


def test_of_very_many_samples_there_is_no_majority_and_the_table_says_so():
    many = replace(SAMPLED, num_samples=MOST_SAMPLES + 1)
    found = result(many, record(0, *[("7", True)] * many.num_samples))
    assert not any(name.startswith("maj@") for name in found.numbers())
    full = "100.0 [100.0, 100.0]"
    assert f"| {full} | {full} | - | 11 |" in suite_markdown("mine", PAPER, [found])


def test_the_table_tells_what_of_a_file_was_left_out(sampled):
    lines = suite_markdown("mine", PAPER, [sampled]).splitlines()
    (headings,) = [line for line in lines if line.startswith("| benchmark |")]
    assert headings.startswith("| benchmark | problems | too long | duplicates | malformed | n |")
    assert lines[lines.index(headings) + 2].startswith("| AIME24 | 4 | 2 | 5 | 3 | 3 |")


def test_the_mean_counts_benchmarks_alike_and_is_narrower_than_the_widest(sampled):
    greedy = result(GREEDY, *(record(n, ("7", n % 2 == 0)) for n in range(20)))
    mean = unweighted_mean([sampled, greedy])
    assert mean.mean == pytest.approx((1 / 3 + 1 / 2) / 2)
    widths = [one.mean.high - one.mean.low for one in (sampled, greedy)]
    # Independent errors: half the root of the sum of squares.
    assert mean.high - mean.low == pytest.approx(np.hypot(*widths) / 2, rel=0.1)


def test_the_papers_table_has_its_columns_its_own_rows_apart_and_no_mean_of_a_part(sampled):
    table = suite_markdown("mine", PAPER, [sampled], ["num_samples 3 instead of 32: AIME24"])
    lines = table.splitlines()
    assert "| policy | AIME24 | AIME25 | AMC | MATH500 | OMNI | Olymp | Minerva | Mean |" in lines
    (mine,) = [line for line in lines if line.startswith("| mine |")]
    assert mine.startswith("| mine | 33.3 [") and mine.endswith("| - | - | - | - | - | - | - |")
    assert "Only 1 of the 7 columns were asked, so there is no mean." in table
    assert "- num_samples 3 instead of 32: AIME24" in lines
    (printed,) = [line for line in lines if line.startswith("| 7B Clip-Cov |")]
    assert printed == "| 7B Clip-Cov | 22.1 | 15.8 | 58.2 | 80.4 | 30.5 | 44.1 | 41.1 | 41.74 | 40.4 |"
    assert lines.index(mine) < lines.index(printed)


def test_the_papers_figures_keep_their_own_headings_beside_a_part_of_its_suite():
    two = [result(GREEDY, record(0, ("7", True)), record(1, ("7", True)))]
    lines = suite_markdown("mine", PAPER.only(["math500"]), two).splitlines()
    assert "| policy | MATH500 | Mean |" in lines
    assert "| mine | 100.0 [100.0, 100.0] | 100.0 [100.0, 100.0] |" in lines
    assert any("Mean: of all columns of this suite (1)" in line for line in lines)
    headings = "| paper | AIME24 | AIME25 | AMC | MATH500 | OMNI | Olymp | Minerva | Mean | printed Avg. |"
    assert lines[lines.index(headings) + 2].startswith("| 7B GRPO | 21.2 | 9.6 | 58.7 | 78.8 |")


def test_the_papers_figures_stand_by_its_problems_whatever_the_suite_is_called():
    two = [result(GREEDY, record(0, ("7", True)), record(1, ("7", True)))]
    renamed = replace(PAPER.only(["math500"]), name="mine")
    assert "| 7B KL-Cov |" in suite_markdown("mine", renamed, two)
    others = replace(GREEDY, prompts=AIME24)
    assert "| 7B KL-Cov |" not in suite_markdown("mine", replace(renamed, benchmarks=(others,)), two)

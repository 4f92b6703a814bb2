"""Suites as data: the paper's numbers, parts of a suite, and what deviates from it."""

from dataclasses import replace

import pytest

from entropy_rl.data.tokenizers import countdown_tokenizer, load_tokenizer
from entropy_rl.evaluation import PAPER, Suite
from entropy_rl.evaluation.paper import PRINTED
from entropy_rl.evaluation.problems import LeftOut, read_problems
from entropy_rl.evaluation.suite import deviations
from entropy_rl.sampler import Sampling
from entropy_rl.suite_file import load_suite
from tests.evaluation.suites import make_suite


def test_the_papers_suite_has_its_protocol():
    sampled, greedy = PAPER.benchmarks[:3], PAPER.benchmarks[3:]
    assert [b.heading for b in sampled] == ["AIME24", "AIME25", "AMC"]
    assert [b.heading for b in greedy] == ["MATH500", "OMNI", "Olymp", "Minerva"]
    for benchmark in sampled:
        assert benchmark.num_samples == 32 and benchmark.ks == (1, 2, 4, 8, 16, 32)
        assert benchmark.sampling == Sampling(temperature=0.6) and not benchmark.is_greedy
    for benchmark in greedy:
        assert benchmark.num_samples == 1 and benchmark.is_greedy
    for benchmark in PAPER.benchmarks:
        assert (benchmark.max_prompt_tokens, benchmark.max_response_tokens) == (2048, 8192)


def test_the_printed_averages_are_not_the_means_of_their_columns():
    # From the paper's table 2, as spec section 5.3 works them out.
    means = [39.09, 39.84, 41.74, 41.09, 45.17, 46.46, 50.63, 51.59]
    for row, mean in zip(PRINTED, means, strict=True):
        assert sum(row.scores.values()) / 7 == pytest.approx(mean, abs=0.006)
        assert abs(mean - row.average) > 0.3


def test_every_problem_of_the_paper_is_read_and_short_enough(shared_folder):
    tokenizer = load_tokenizer(shared_folder / "tokenizer" / "qwen2_5")
    suite = replace(PAPER, data_folder=shared_folder / "data")
    found = {b.name: read_problems(suite.file_of(b), b, tokenizer) for b in suite.benchmarks}
    assert [len(problems.prompts) for problems in found.values()] == [30, 30, 40, 500, 2814, 675, 272]
    left_out = {name: problems.left_out for name, problems in found.items()}
    assert left_out.pop("omni_math") == LeftOut(num_duplicates=5)
    assert set(left_out.values()) == {LeftOut()}


def test_what_is_left_out_of_a_file_is_counted_by_its_reason(tmp_path):
    suite = make_suite(tmp_path)
    benchmark = suite.benchmarks[0]
    with open(suite.file_of(benchmark).path, "a") as file:
        file.write('{"prompt": "0,2=3:", "answer": "3"}\n{"question": "?"}\n{}\n')
    problems = read_problems(suite.file_of(benchmark), benchmark, countdown_tokenizer())
    assert problems.left_out == LeftOut(num_too_long=1, num_duplicates=1, num_malformed=2)


def test_a_part_keeps_the_order_of_the_suite(tmp_path):
    suite = make_suite(tmp_path)
    assert [b.name for b in suite.only(["greedy", "sampled"]).benchmarks] == ["sampled", "greedy"]
    with pytest.raises(ValueError, match="among those of the suite tiny, greedy, sampled; got amc"):
        suite.only(["sampled", "amc"])


def test_more_samples_are_for_those_that_sample():
    shortened = PAPER.shortened(num_samples=5, max_response_tokens=7, max_problems=3)
    assert [b.num_samples for b in shortened.benchmarks] == [5] * 3 + [1] * 4
    assert {(b.max_response_tokens, b.max_problems) for b in shortened.benchmarks} == {(7, 3)}
    assert PAPER.shortened() == PAPER


def test_deviations_are_told_once_with_their_benchmarks():
    assert deviations(PAPER, PAPER) == []
    asked = PAPER.only(["aime24", "amc23", "math500"]).shortened(num_samples=5, max_problems=3)
    assert deviations(PAPER, asked) == [
        "num_samples 5 instead of 32: AIME24, AMC",
        "max_problems 3 instead of all: AIME24, AMC, MATH500",
        "not asked, or not to the end: AIME25, OMNI, Olymp, Minerva",
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(name="a b"), "letters, digits"),
        (dict(num_samples=0), "num_samples of aime24 must be at least 1, got 0"),
        (dict(max_response_tokens=0), "max_response_tokens of aime24"),
        (dict(max_problems=0), "None asks all"),
    ],
)
def test_a_benchmark_that_cannot_be_asked_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(PAPER.benchmarks[0], **changes)


def test_two_benchmarks_of_one_name_and_none_at_all_are_refused():
    for benchmarks in ((PAPER.benchmarks[0],) * 2, ()):
        with pytest.raises(ValueError, match="a suite must have benchmarks, each of another name"):
            Suite(name="wrong", benchmarks=benchmarks)


def test_suites_are_found_by_name_or_in_a_file(tmp_path):
    assert load_suite("paper") is PAPER
    file = tmp_path / "mine.py"
    file.write_text(
        "from entropy_rl.evaluation import PAPER\ndef get_suite(): return PAPER.only(['amc23'])\n"
    )
    assert load_suite(str(file)) == PAPER.only(["amc23"])
    file.write_text("def get_suite(): return 3\n")
    with pytest.raises(ValueError, match=r"get_suite\(\) of .* must return a Suite, got int"):
        load_suite(str(file))
    file.write_text("")
    with pytest.raises(ValueError, match=r"must define get_suite\(\)"):
        load_suite(str(file))
    with pytest.raises(ValueError, match="--suite must be paper, or a Python file"):
        load_suite("papers")
    with pytest.raises(ValueError, match=r"--suite must name a Python file with get_suite\(\)"):
        load_suite(str(tmp_path / "none.py"))

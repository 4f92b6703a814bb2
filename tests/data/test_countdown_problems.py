"""Countdown problems: deterministic, reachable, disjoint splits; demonstrations that are always valid."""

import pytest

from entropy_rl.data.countdown import CountdownProblem, CountdownSpace
from entropy_rl.rewards.countdown import solutions, verify

SPACE = CountdownSpace()


def test_a_problem_is_written_and_read_back():
    problem = CountdownProblem(numbers=(3, 5, 7), target=22)
    assert (problem.prompt, problem.answer) == ("3,5,7=22:", "3,5,7=22")
    assert CountdownProblem.from_answer(problem.answer) == problem


def test_a_problem_depends_on_seed_and_index_alone():
    forwards = [SPACE.problem(5, index, "train") for index in range(20)]
    backwards = [SPACE.problem(5, index, "train") for index in reversed(range(20))]
    assert forwards == backwards[::-1]
    assert forwards != [SPACE.problem(6, index, "train") for index in range(20)]


def test_every_drawn_problem_fits_the_space_and_has_a_right_answer():
    space = CountdownSpace(num_numbers=3, max_number=11, max_target=13)
    for index in range(100):
        problem = space.problem(0, index, "train")
        assert problem.numbers == tuple(sorted(problem.numbers)) and len(problem.numbers) == 3
        assert 1 <= problem.numbers[0] and problem.numbers[-1] <= 11 and 0 <= problem.target <= 13
        assert len(problem.prompt) <= space.max_prompt_characters
        assert solutions(problem.numbers, problem.target)


def test_no_seed_brings_a_heldout_problem_into_training():
    heldout = {SPACE.problem(seed, index, "heldout") for seed in range(3) for index in range(100)}
    train = {SPACE.problem(seed, index, "train") for seed in range(3, 6) for index in range(300)}
    demonstrated = {problem for problem, _ in SPACE.demonstrations(300, 7, 0.5)}
    assert not heldout & (train | demonstrated)


def test_the_split_of_a_problem_is_the_same_in_every_run():
    # sha256 of "3,5,7=22" begins with 0xdc5b, of "3,5,7=95" with 0x1909 (0.0978 of 2^16), of "3,5,7=10"
    # with 0x005e; below 0.1 is held out.
    problems = [CountdownProblem(numbers=(3, 5, 7), target=target) for target in (22, 95, 10)]
    assert [SPACE.split_of(problem) for problem in problems] == ["train", "heldout", "heldout"]


def test_heldout_problems_are_about_their_share():
    problems = [
        CountdownProblem(numbers=(a, b), target=target)
        for a in range(1, 20)
        for b in range(a, 20)
        for target in range(10)
    ]
    share = sum(SPACE.split_of(problem) == "heldout" for problem in problems) / len(problems)
    assert share == pytest.approx(0.1, abs=0.02)


def test_distinct_problems_are_distinct_and_a_longer_list_continues_a_shorter_one():
    problems = SPACE.distinct_problems(200, 0, "train")
    assert len(set(problems)) == 200
    assert SPACE.distinct_problems(50, 0, "train") == problems[:50]


def test_asking_for_more_problems_than_there_are_is_refused():
    space = CountdownSpace(num_numbers=2, max_number=2)
    with pytest.raises(ValueError, match="30 different train problems were asked for.*gave only"):
        space.distinct_problems(30, 0, "train")


@pytest.mark.parametrize("num_numbers", [2, 3, 4])
def test_every_demonstration_is_valid_and_fits(num_numbers):
    space = CountdownSpace(num_numbers=num_numbers)
    for problem, expression in space.demonstrations(200, 0, 0.15):
        assert verify(expression, problem.numbers, problem.target).valid
        assert len(expression) <= space.max_answer_characters


@pytest.mark.parametrize("fraction", [0.0, 0.15, 1.0])
def test_the_configured_share_of_demonstrations_is_right(fraction):
    pairs = SPACE.demonstrations(400, 0, fraction)
    right = sum(verify(text, problem.numbers, problem.target).correct for problem, text in pairs)
    assert right / 400 == pytest.approx(fraction, abs=0 if fraction in (0, 1) else 0.05)


@pytest.mark.parametrize("wrong", [{"num_numbers": 1}, {"max_number": 0}, {"max_target": -1}])
def test_spaces_without_problems_are_refused(wrong):
    with pytest.raises(ValueError, match="countdown needs"):
        CountdownSpace(**wrong)


@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_a_split_without_problems_is_refused(fraction):
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        CountdownSpace(heldout_fraction=fraction)

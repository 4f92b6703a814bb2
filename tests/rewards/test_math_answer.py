"""Boxes, GSM8K answers, and equality of answers."""

import json

import pytest

from entropy_rl.rewards.math_answer import MAX_ANSWER_CHARACTERS, gsm8k_answer, judge, last_boxed


@pytest.mark.parametrize(
    "text, content",
    [
        (r"so \boxed{7}.", "7"),
        (r"\boxed{1} then \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\left\{1\right.}", r"\left\{1\right."),
        (r"\boxed{}", ""),
        ("no box", None),
        (r"\boxed 7", None),
        (r"\boxed{1} then \boxed{\frac{1}{2}", None),
        ("", None),
    ],
)
def test_the_last_box_is_read_with_its_braces_matched(text, content):
    assert last_boxed(text) == content


@pytest.mark.parametrize(
    "solution, answer",
    [
        ("2+2=4\n#### 4", "4"),
        ("#### 1\n#### 1,234", "1234"),
        ("####  -3.5 ", "-3.5"),
        ("4", None),
        ("####", None),
    ],
)
def test_a_gsm8k_answer_follows_the_last_mark(solution, answer):
    assert gsm8k_answer(solution) == answer


@pytest.mark.parametrize(
    "boxed, answer",
    [
        ("72", "72"),
        (r"\frac{1}{2}", "0.5"),
        (r"\dfrac{2}{4}", r"\frac12"),
        ("1,000", "1000"),
        (r"2\sqrt{2}", r"\sqrt{8}"),
        ("x^2+2x+1", "(x+1)^2"),
        (r"(3, \frac{\pi}{2})", r"\left( 3, \frac{\pi}{2} \right)"),
        (r"\text{Evelyn}", r"\text{Evelyn}"),
    ],
)
def test_equal_answers_score_one(boxed, answer):
    assert judge(rf"... \boxed{{{boxed}}}", answer).score == 1.0


@pytest.mark.parametrize(
    "boxed, answer",
    [
        ("71", "72"),
        (r"\frac{a}{2}", r"\frac{c}{2}"),
        ("(1,2)", "(2,1)"),
        (r"\sqrt{2}", "1.41"),
        ("", "0"),
        ("Evelyn", "Angela"),
        ("9" * (MAX_ANSWER_CHARACTERS + 1), "9" * (MAX_ANSWER_CHARACTERS + 1)),
    ],
)
def test_different_or_overlong_answers_score_zero(boxed, answer):
    assert judge(rf"... \boxed{{{boxed}}}", answer).score == 0.0


def test_a_right_answer_outside_a_box_scores_zero():
    assert judge("Answer: 72", "72").score == 0.0


def test_gold_solutions_are_judged_right_and_exchanged_ones_wrong(shared_folder):
    with (shared_folder / "data/math500/test.jsonl").open() as lines:
        rows = [json.loads(line) for line in lines][:100]
    assert all(judge(row["solution"], row["answer"]).score == 1 for row in rows)
    pairs = zip(rows, rows[1:], strict=False)
    called_equal = [
        (a["answer"], b["answer"])
        for a, b in pairs
        if a["answer"] != b["answer"] and judge(a["solution"], b["answer"]).score == 1
    ]
    assert called_equal == [("5", "x=5")]  # one answer written in two ways

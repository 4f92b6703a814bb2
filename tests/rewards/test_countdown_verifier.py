"""The countdown verifier: what it accepts, what it refuses, and that no text can hurt it."""

from itertools import permutations, product

import numpy as np
import pytest

from entropy_rl.data.countdown import random_expression
from entropy_rl.rewards.countdown import (
    MAX_DEPTH,
    MAX_LENGTH,
    ExpressionError,
    evaluate,
    normal_form,
    parse,
    render,
    solutions,
    verify,
)


@pytest.mark.parametrize(
    "expression",
    ["3*5+7", "7+5*3", "(3*5)+7", "((7))+(5*3)", " 3 * 5 + 7 ", "7+3*5"],
)
def test_an_expression_over_exactly_the_numbers_that_reaches_the_target_is_correct(expression):
    verdict = verify(expression, (3, 5, 7), 22)
    assert (verdict.valid, verdict.correct, verdict.value, verdict.reason) == (True, True, 22, "")


def test_a_valid_expression_that_misses_the_target_is_valid_but_not_correct():
    verdict = verify("3+5+7", (3, 5, 7), 22)
    assert (verdict.valid, verdict.correct, verdict.value) == (True, False, 15)
    assert verdict.reason == "the value is 15, not 22"


@pytest.mark.parametrize(
    "expression",
    ["22", "3*5", "3*5+7+7", "3+5+14", "35-13", "3*5+7-0"],
    ids=["target itself", "number left out", "number twice", "foreign number", "digits joined", "extra zero"],
)
def test_using_other_than_each_number_once_is_invalid(expression):
    verdict = verify(expression, (3, 5, 7), 22)
    assert not verdict.valid and not verdict.correct and "once" in verdict.reason


def test_a_number_given_twice_must_be_used_twice():
    assert verify("4*4-1", (1, 4, 4), 15).correct
    assert not verify("4*4-1", (1, 4), 15).valid


@pytest.mark.parametrize(
    "expression",
    [
        "",
        " ",
        "3*",
        "*3",
        "-3",
        "3--5",
        "(3",
        "3)",
        "()",
        "3 5",
        "3/5",
        "3**5",
        "03*5+7",
        "3*5+7=22",
        "3,5",
        "x",
    ]
    + ["\0", "3\n", "\uff13*5+7", "\u0663", "1e3", "0x3", "__import__('os')", "((((((((3", "\ud800"],
)
def test_text_outside_the_language_is_invalid(expression):
    assert not verify(expression, (3, 5, 7), 22).valid


@pytest.mark.parametrize(
    "expression",
    ["9" * 10**6, "(" * 10**6, "1+" * 10**6, "(" * (MAX_DEPTH + 1) + "1" + ")" * (MAX_DEPTH + 1)]
    + ["9*" * (MAX_LENGTH // 2 - 1) + "9", "1+" * (MAX_LENGTH // 2 - 1) + "1"],
)
def test_hostile_text_is_invalid_and_raises_nothing(expression):
    assert not verify(expression, (3, 5, 7), 22).valid


def test_spaces_do_not_join_digits_of_one_number():
    with pytest.raises(ExpressionError, match="expected an operator"):
        parse("3 5")


def test_operators_of_one_precedence_group_from_the_left():
    assert evaluate(parse("9-5-3")) == 1
    assert evaluate(parse("9-(5-3)")) == 7
    assert evaluate(parse("2+3*4-5")) == 9


def test_a_rendered_expression_has_the_value_of_its_tree():
    rng = np.random.default_rng(0)
    for _ in range(300):
        node = random_expression((2, 3, 5, 7, 11), rng)
        assert evaluate(parse(render(node))) == evaluate(node)
        assert normal_form(parse(render(node))) == normal_form(node)


@pytest.mark.parametrize(
    "one, other, same",
    [
        ("3*5+7", "7+5*3", True),
        ("8-(5-2)", "2+8-5", True),
        ("(2+3)*7", "7*(3+2)", True),
        ("2*(3*7)", "7*2*3", True),
        ("9-3-2", "9-(2+3)", True),
        ("2*3+4", "2*(3+4)", False),
        ("9-3", "3-9", False),
        ("1*3+5", "3+1*5", False),
    ],
)
def test_normal_forms_agree_exactly_for_reordered_and_regrouped_expressions(one, other, same):
    assert (normal_form(parse(one)) == normal_form(parse(other))) == same


def test_the_normal_form_is_an_expression_of_the_same_value():
    rng = np.random.default_rng(1)
    for _ in range(300):
        node = random_expression((2, 3, 5, 7), rng)
        form = parse(normal_form(node))
        assert evaluate(form) == evaluate(node)
        assert normal_form(form) == normal_form(node)


def test_solutions_of_a_problem_worked_by_hand():
    # 1,2,3 -> 6: 1+2+3 and 1*2*3. 1,2,3 -> 5: 2*3-1, 2+3*1, 3+2*1, (2+3)*1.
    assert solutions((1, 2, 3), 6) == {"1+2+3", "1*2*3"}
    assert solutions((1, 2, 3), 5) == {"2*3-1", "2+1*3", "3+1*2", "1*(2+3)"}
    assert solutions((1, 1, 1), 99) == frozenset()


def test_solutions_equal_those_found_by_trying_every_tree():
    numbers, target = (2, 3, 7), 13
    texts = [
        text
        for (a, b, c), (x, y) in product(permutations(numbers), product("+-*", repeat=2))
        for text in (f"({a}{x}{b}){y}{c}", f"{a}{x}({b}{y}{c})")
    ]
    found = {normal_form(parse(text)) for text in texts if verify(text, numbers, target).correct}
    assert found and solutions(numbers, target) == found

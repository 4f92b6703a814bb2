"""What counts as the expected output."""

import pytest

from entropy_rl.rewards.code.compare import same_output, same_value
from entropy_rl.rewards.code.remote_calls import decode, encode, undefined_names


@pytest.mark.parametrize(
    "expected, given, same",
    [
        ("5\n", "5", True),
        ("5 7\n11", "5  7 \n11\n\n", True),
        ("5\n7", "5 7", False),
        ("", "", True),
        ("", "0", False),
        ("5", "", False),
        ("YES", "yes", False),
        ("0.5", "0.5000001", True),
        ("0.5", "5e-1", True),
        ("0.5", "0.5001", False),
        ("1e9", "1000000001", True),
        ("1000000000", "1000000001", False),
        ("1000000000", "1000000000.0", False),
        ("3", "3.0000000001", False),
        ("0.5", "nan", False),
        ("1e999", "1e998", False),
        ("no.5", "no.50", False),
    ],
)
def test_outputs_are_compared_word_by_word_with_decimals_within_the_tolerance(expected, given, same):
    assert same_output(expected, given, 1e-6) == same


def test_without_tolerance_decimals_must_be_equal_numbers():
    assert same_output("0.50", "0.5", 0.0) and not same_output("0.5", "0.5000001", 0.0)


@pytest.mark.parametrize(
    "expected, given, same",
    [
        ([1, [2]], (1, (2,)), True),
        ([1, 2], [2, 1], False),
        ({"1": "a"}, {1: "a"}, True),
        (1, True, False),
        (True, 1, False),
        (1, 1.0, True),
        (1, 1.0000000001, False),
        (1.0, 1, True),
        (0.1, 0.1 + 1e-9, True),
        pytest.param(1.5, 10**400, False, id="beyond all reals"),
        ("1", 1, False),
        (None, None, True),
        (None, False, False),
    ],
)
def test_values_are_compared_as_json_has_them(expected, given, same):
    assert same_value(expected, given, 1e-6) == same


@pytest.mark.parametrize(
    "value",
    [None, True, 7, -0.5, "ü\n", b"\0x", 2 + 3j, [1, (2, 3), {4}], {(1, 2): [frozenset({5})]}, set(), {}],
)
def test_plain_data_arrive_as_they_were_sent(value):
    arrived = decode(encode(value))
    assert arrived == value and type(arrived) is type(value)


def test_what_is_no_plain_data_stays_where_it_is():
    with pytest.raises(TypeError, match="function is no plain data"):
        encode(encode)


def test_the_names_that_tests_leave_undefined_are_the_programs():
    source = "import math\nx = f(3)\nfor i in range(2):\n    assert math.sqrt(g(i, key=lambda y: y)) == x"
    assert undefined_names(source) == {"f", "g"}

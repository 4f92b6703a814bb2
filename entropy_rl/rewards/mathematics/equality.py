r"""When two answers are the same. Conventions, where mathematicians differ or data sets are careless:

- A unit, a degree sign, a base, or a name ("x =") may be missing on one side; 90\text{ degrees} is also
  \pi/2; 5 cm is 50 mm and not 5 m. Any word may be a unit that is none of arithmetic: 5 apples, but not
  5 factorial.
- A percent sign may be missing from numbers of 1 and more: 50% is 50, and it is 0.5; 0.05% is not 0.05.
- The brackets of intervals and the order of tuples count; the order of sets, unions and lists does not.
  A list without brackets equals a tuple of the same order. An inequality equals its interval.
- A comma between digits parts two values inside brackets, (10,100), and thousands outside, 10,100, unless
  the other answer lists the same two.
- A decimal of six digits or more stands for a number it cannot write: 0.333333 is 1/3, 0.33 is not.
- Words are equal when they are the same words.
- Variables are real, of any sign: \sqrt{ab} is not \sqrt{a}\sqrt{b}. Capitals side by side keep their order,
  as segments and matrices do: AC is not CA. The name of a free integer counts: k\pi is not n\pi.
- An answer given twice, "5 or 5", is not one. Metre seconds, "m s", are not told from milliseconds, "ms".

The strongest means, math-verify, comes last: the same spelling, our structure, exact numbers and refuting
values go before it, and it compares what expressions are left. Applied first, to whole answers, it would read
words as products of letters and drop units; and every wrong answer would cost it a simplification, where
values at one point show the difference.
"""

import re
from collections.abc import Iterable

from entropy_rl.rewards.mathematics.numbers import numbers_equal, read_in_base, read_number
from entropy_rl.rewards.mathematics.spelling import key, tidy, words
from entropy_rl.rewards.mathematics.structure import (
    Collection,
    Matrix,
    Relation,
    Sequence,
    Structure,
    Value,
    read_structure,
)
from entropy_rl.rewards.mathematics.symbolic import equations_equal, expressions_equal
from entropy_rl.rewards.mathematics.units import PERCENT, as_number, conversion, split_unit, times

MAX_ITEMS = 64
"""Of a list or set that is compared item by item."""

_METHODS = ("normalised", "numeric", "math-verify")
"""From the plainest to the strongest: the parts of an answer may be decided by different ones."""

_NAME = re.compile(r"(?:\\?[a-zA-Z]+|\\text\{[^{}]*\})(?:_\{?\w+\}?|'+)?(?:\([\w,]+\))?|\(\w+(?:,\w+)+\)")
_MIRRORED = {"<": ">", ">": "<", r"\leq": r"\geq", r"\geq": r"\leq", "=": "=", r"\neq": r"\neq"}
_RATIO = re.compile(r"(\d+):(\d+)")
_HAS_WORDS = re.compile(
    r"(?<!_)(?<!_\{)\\text\{[^{}]*[a-zA-Z]{2}"
    r"|(?<![\\a-zA-Z])(?!a?b?c?d?e?f?p?q?r?s?t?u?v?w?x?y?z?(?![a-zA-Z]))"
    r"(?=[a-zA-Z]*[aeiouy])[a-zA-Z]{3,}|(?<![\\a-zA-Z])no(?![a-zA-Z])",
    re.IGNORECASE,
)
"""Words, not products: marked as text, or three letters and more with a vowel, and not as in abc or xyz."""


def how_equal(answer: str, given: str) -> str | None:
    """Which of the methods shows that two answers are equal; None when none does."""
    answer, given = tidy(answer), tidy(given)
    return _texts_equal(answer, given)


def _texts_equal(a: str, b: str) -> str | None:
    """Of two tidy texts. A comma in digits is a thousands separator, or parts what the other text parts."""
    if key(a) == key(b):
        return "normalised" if key(a) else None
    found = _equal(read_structure(a), read_structure(b))
    if found is None and re.search(r"\d,\d{3}", a + " " + b):
        pair = read_structure(a, thousands=False), read_structure(b, thousands=False)
        with_items = all(isinstance(one, Collection | Sequence) for one in pair)
        if with_items and any(isinstance(one, Collection) and one.kind == "list" for one in pair):
            found = _in_order(pair[0].items, pair[1].items)
    return found


def _equal(a: Structure, b: Structure) -> str | None:
    match a, b:
        case Relation(), Relation():
            return _relations_equal(a, b)
        case Relation(), _:
            return _without_name(a, b, is_known=True)
        case _, Relation():
            return _without_name(b, a, is_known=False)
        case Sequence(), Sequence():
            same = (a.opening, a.closing) == (b.opening, b.closing)
            return _in_order(a.items, b.items) if same else None
        case Matrix(), Matrix():
            if a.is_determinant != b.is_determinant or len(a.rows) != len(b.rows):
                return None
            return _weakest(_in_order(row, other) for row, other in zip(a.rows, b.rows, strict=True))
        case Collection(), Collection():
            return _in_any_order(a.items, b.items)
        case (Collection(kind="list"), Sequence(opening="(", closing=")")) | (
            Sequence(opening="(", closing=")"),
            Collection(kind="list"),
        ):
            return _in_order(a.items, b.items)
        case (Collection(kind="braces", items=(item,)), Value(text=text)) | (
            Value(text=text),
            Collection(kind="braces", items=(item,)),
        ):
            return _texts_equal(item, text)
        case Value(), Value():
            return _values_equal(a.text, b.text)
    return None


def _relations_equal(a: Relation, b: Relation) -> str | None:
    if _is_equation(a) and _is_equation(b):
        if key(a.sides[0]) == key(b.sides[0]):
            return _texts_equal(a.sides[-1], b.sides[-1])
        return "numeric" if equations_equal(_ends(a), _ends(b)) else None
    one, other = _range(a), _range(b)
    if one and other:
        return _texts_equal(one[1], other[1]) if one[0] == other[0] else None
    mirrored = Relation(
        sides=b.sides[::-1], operators=tuple(_MIRRORED.get(sign, sign) for sign in b.operators[::-1])
    )
    same = (_in_order(a.sides, c.sides) for c in (b, mirrored) if a.operators == c.operators)
    return next(filter(None, same), None)


def _without_name(relation: Relation, other: Structure, *, is_known: bool) -> str | None:
    """Compares what a name equals, or ranges over, with an answer that has no name.

    What is given may be any sum: "a+b=5" for 5. What is known must be a name: x+y=0 is not 0.
    """
    if _is_equation(relation):
        has_name = not is_known or _NAME.fullmatch(relation.sides[0])
        return _equal(read_structure(relation.sides[-1]), other) if has_name else None
    found = _range(relation)
    return _equal(read_structure(found[1]), other) if found else None


def _is_equation(relation: Relation) -> bool:
    return set(relation.operators) <= {"=", r"\approx"}


def _ends(relation: Relation) -> tuple[str, str]:
    return relation.sides[0], relation.sides[-1]


def _range(relation: Relation) -> tuple[str, str] | None:
    """A variable and the set it ranges over, of x < 2, 0 < x < 1 or x in [0,1]; None for other relations."""
    sides, signs = relation.sides, relation.operators
    if signs == (r"\in",):
        return key(sides[0]), sides[1]
    if not {"<", ">", r"\leq", r"\geq"}.issuperset(signs) or len(sides) > 3:
        return None
    if signs[-1] in (">", r"\geq"):
        sides, signs = sides[::-1], tuple(_MIRRORED[sign] for sign in signs[::-1])
    if any(sign in (">", r"\geq") for sign in signs):
        return None
    if len(sides) == 2:
        is_left = bool(_NAME.fullmatch(sides[0]))
        sides = (r"-\infty", *sides) if is_left else (*sides, r"\infty")
        signs = ("<", *signs) if is_left else (*signs, "<")
    low, name, high = sides
    opening, closing = "(" if signs[0] == "<" else "[", ")" if signs[1] == "<" else "]"
    return (key(name), f"{opening}{low},{high}{closing}") if _NAME.fullmatch(name) else None


def _in_order(items: tuple[str, ...], others: tuple[str, ...]) -> str | None:
    if len(items) != len(others) or len(items) > MAX_ITEMS:
        return None
    return _weakest(_texts_equal(a, b) for a, b in zip(items, others, strict=True))


def _in_any_order(items: tuple[str, ...], others: tuple[str, ...]) -> str | None:
    if len(items) != len(others):
        items, others = _both_signs(items), _both_signs(others)
    if len(items) != len(others) or len(items) > MAX_ITEMS:
        return None
    if _num_names(items) != _num_names(others):  # "a=1, b=2" for "1, 2": the order says what is what
        return _in_order(items, others)
    left, methods = list(others), []
    for item in items:
        for other in left:
            if method := _texts_equal(item, other):
                left.remove(other)
                methods.append(method)
                break
        else:
            return None
    return _weakest(methods)


def _both_signs(items: tuple[str, ...]) -> tuple[str, ...]:
    """The items, each that holds a plus-minus sign as the two that it stands for."""
    read = [(item, read_structure(item)) for item in items]
    return tuple(
        one
        for item, structure in read
        for one in (structure.items if isinstance(structure, Collection) and r"\pm" in item else (item,))
    )


def _num_names(items: tuple[str, ...]) -> int:
    return len({key(item.partition("=")[0]) for item in items if "=" in item})


def _weakest(methods: Iterable[str | None]) -> str | None:
    """The strongest means that was needed for any part; None when a part was not equal."""
    ranks = []
    for method in methods:
        if method is None:
            return None
        ranks.append(_METHODS.index(method))
    return _METHODS[max(ranks, default=0)]


def _values_equal(a: str, b: str) -> str | None:
    if key(a) == key(b):
        return "normalised"
    if read_in_base(a) or read_in_base(b):
        return "normalised" if _same_in_base(a, b) else None
    if _RATIO.fullmatch(a) or _RATIO.fullmatch(b):
        return "normalised" if _same_ratio(a, b) else None
    (value_a, unit_a), (value_b, unit_b) = split_unit(a), split_unit(b)
    factor = conversion(unit_a, unit_b)
    if factor is None:
        return None
    has_lost_unit = (unit_a is None) != (unit_b is None)
    method = None
    if not (has_lost_unit and PERCENT in (unit_a, unit_b)) or _may_be_percent(value_a):
        method = _plain_values_equal(times(value_a, factor), value_b)
    if method is None and has_lost_unit:  # 50% is also 0.5
        method = _plain_values_equal(as_number(value_a, unit_a), as_number(value_b, unit_b))
    return method


def _may_be_percent(value: str) -> bool:
    """Whether a value may have lost its percent sign: 50 may, 0.5 is itself."""
    number = read_number(value)
    return number is not None and abs(number.value) >= 1


def _plain_values_equal(a: str, b: str) -> str | None:
    """Of texts without units: words, numbers, expressions."""
    if key(a) == key(b):
        return "normalised"
    if _HAS_WORDS.search(a) or _HAS_WORDS.search(b):
        return "normalised" if words(a) == words(b) != "" else None
    one, other = read_number(a), read_number(b)
    if one and other:
        return "numeric" if numbers_equal(one, other) else None
    return expressions_equal(a, b)


def _same_in_base(a: str, b: str) -> bool:
    """4343_6 is 4343 whose base was left out, and 10_2 is 2_10."""
    one, other = read_in_base(a), read_in_base(b)
    return one == other if one and other else a.partition("_")[0] == b.partition("_")[0]


def _same_ratio(a: str, b: str) -> bool:
    """2:3 is also 2/3, but 4:6 and 2:3 are left apart: they may be times of the day."""
    return _RATIO.sub(r"\\frac{\1}{\2}", a) == _RATIO.sub(r"\\frac{\1}{\2}", b)

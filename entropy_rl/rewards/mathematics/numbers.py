"""Numbers as they are written in answers, read exactly: no floating point, and bounds before arithmetic."""

import re
from dataclasses import dataclass
from fractions import Fraction

MAX_DIGITS = 1000
MAX_EXPONENT = 1000
"""Larger powers of ten are not read as numbers."""
MIN_ROUNDED_DIGITS = 6
"""Significant digits that a decimal must have to stand for a number which it cannot write exactly."""

MULTIPLIERS = {
    **{name: Fraction(12) for name in ("dozen", "dozens")},
    **{name: Fraction(100) for name in ("hundred", "hundreds")},
    **{name: Fraction(10) ** power for name, power in (("thousand", 3), ("million", 6), ("billion", 9))},
    "trillion": Fraction(10) ** 12,
    "quadrillion": Fraction(10) ** 15,
    **{
        name + plural: Fraction(1, 10**power)
        for name, power in (("hundredth", 2), ("thousandth", 3), ("millionth", 6), ("billionth", 9))
        for plural in ("", "s")
    },
    **{name: Fraction(1, 2) for name in ("half", "halves")},
    **{
        name + plural: Fraction(1, parts)
        for parts, name in enumerate("third fourth fifth sixth seventh eighth ninth tenth".split(), start=3)
        for plural in ("", "s")
    },
}
"""What a word behind a number multiplies it by."""
ARITHMETIC_WORDS = frozenset(
    """plus minus negative times over divided multiplied mod modulo remainder choose factorial factorials root
    roots sqrt log ln sin cos tan power th pi infinity squared cubed twice thrice to and or not maybe
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety""".split()
)
"""Words that make another number of the one beside them."""

_DECIMAL = r"(?:[1-9]\d{0,2}(?:,\d{3})+|\d+)(?:\.\d*)?|\.\d+"
_PLAIN = re.compile(_DECIMAL)
_REPEATING = re.compile(r"(\d*)\.(\d*)\\overline\{(\d+)\}")
_FRACTION = re.compile(rf"\\frac\{{(-?(?:{_DECIMAL}))\}}\{{(-?(?:{_DECIMAL}))\}}|({_DECIMAL})/({_DECIMAL})")
_MIXED = re.compile(r"(\d+)\\frac\{(\d+)\}\{(\d+)\}")
_POWER = r"\{?([+-]?\d{1,5})\}?"
_SCIENTIFIC = re.compile(rf"({_DECIMAL})(?:[eE]|\\cdot10\^){_POWER}|10\^{_POWER}")
_IN_BASE = re.compile(r"(-?(?=[A-Z]*\d)[\dA-Z]{1,300})_\{?(?:(\d{1,2})|\\text\{(\w+)\})\}*")
_BASES = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10}


@dataclass(frozen=True, kw_only=True)
class WrittenNumber:
    """An exact value, and how finely it was written."""

    value: Fraction
    last_place: Fraction | None = None
    """What one unit of the last decimal is worth; None for numbers without a decimal point."""


def read_number(text: str) -> WrittenNumber | None:
    r"""The number that a tidy text is, to its last character; None for everything else.

    Read are 12, -1,234.5, .5, 1/2, \frac{1}{2}, 3\frac{1}{2} (three and a half), 0.\overline{3}, 1.5e-3,
    1.5\cdot10^{-3} and 10^{6}.
    """
    if len(text) > MAX_DIGITS:
        return None
    negative = text.startswith("-")
    number = _read_unsigned(text.removeprefix("-") if negative else text.removeprefix("+"))
    if number is None or not negative:
        return number
    return WrittenNumber(value=-number.value, last_place=number.last_place)


def read_in_base(text: str) -> WrittenNumber | None:
    r"""What 4343_6, 1A_{16} or 101_\text{two} is; None for others: A_5 and 2_1 are symbols with an index."""
    match = _IN_BASE.fullmatch(text)
    base = int(match[2] or _BASES.get(match[3], 0)) if match else 0
    if not 2 <= base <= 36:
        return None
    try:
        return WrittenNumber(value=Fraction(int(match[1], base)))
    except ValueError:  # a digit that the base does not have
        return None


def _read_unsigned(text: str) -> WrittenNumber | None:
    if _PLAIN.fullmatch(text):
        return _decimal(text)
    if match := _FRACTION.fullmatch(text):
        above, below = (_decimal(part).value for part in match.groups() if part)
        return WrittenNumber(value=above / below) if below else None
    if match := _MIXED.fullmatch(text):
        whole, above, below = map(int, match.groups())
        return WrittenNumber(value=whole + Fraction(above, below)) if below else None
    if match := _SCIENTIFIC.fullmatch(text):
        return _scaled(_decimal(match[1] or "1"), int(match[2] or match[3]))
    if match := _REPEATING.fullmatch(text):
        whole, fixed, repeated = match.groups()
        nines = (10 ** len(repeated) - 1) * 10 ** len(fixed)
        value = _decimal(f"{whole or 0}.{fixed}").value + Fraction(int(repeated), nines)
        return WrittenNumber(value=value)
    return None


def _decimal(text: str) -> WrittenNumber:
    text = text.replace(",", "")
    whole, point, decimals = text.lstrip("-").partition(".")
    value = Fraction(int(f"0{whole}{decimals}"), 10 ** len(decimals))
    last_place = Fraction(1, 10 ** len(decimals)) if point and decimals else None
    return WrittenNumber(value=-value if text.startswith("-") else value, last_place=last_place)


def _scaled(number: WrittenNumber, exponent: int) -> WrittenNumber | None:
    if abs(exponent) > MAX_EXPONENT:
        return None
    scale = Fraction(10) ** exponent
    return WrittenNumber(
        value=number.value * scale, last_place=number.last_place and number.last_place * scale
    )


def numbers_equal(one: WrittenNumber, other: WrittenNumber) -> bool:
    """Equal exactly, or one is a decimal that stands for the other, as 0.333333 for 1/3 (but not 0.33)."""
    if one.value == other.value:
        return True
    if (one.last_place is None) == (other.last_place is None):
        return False
    rounded, exact = (one, other) if one.last_place is not None else (other, one)
    return stands_for(rounded, exact.value)


def stands_for(rounded: WrittenNumber, exact: Fraction) -> bool:
    """Whether a decimal of enough digits differs from a value by less than its last place."""
    if rounded.last_place is None:
        return False
    num_digits = len(str(abs(rounded.value) // rounded.last_place))
    return num_digits >= MIN_ROUNDED_DIGITS and abs(rounded.value - exact) < rounded.last_place

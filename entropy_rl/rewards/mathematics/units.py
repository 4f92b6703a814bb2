r"""Units behind (or, for money, before) a value.

A single letter is a unit only where it is marked as one, \text{m} or \mathrm{m}: elsewhere it is a variable,
so that a/2 and c/2 differ, and 2m and 2s.
"""

import re
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction

_LENGTH, _MASS, _TIME, _VOLUME, _MONEY = "length", "mass", "time", "litre", "money"
_KNOWN: dict[str, tuple[str, Fraction]] = {
    **{name: (_LENGTH, Fraction(1)) for name in ("m", "meter", "metre")},
    **{name: (_LENGTH, Fraction(1, 100)) for name in ("cm", "centimeter", "centimetre")},
    **{name: (_LENGTH, Fraction(1, 1000)) for name in ("mm", "millimeter", "millimetre")},
    **{name: (_LENGTH, Fraction(1000)) for name in ("km", "kilometer", "kilometre")},
    **{name: (_LENGTH, Fraction(254, 10000)) for name in ("in", "inch", "inche")},
    **{name: (_LENGTH, Fraction(3048, 10000)) for name in ("ft", "foot", "feet")},
    **{name: (_LENGTH, Fraction(9144, 10000)) for name in ("yd", "yard")},
    **{name: (_LENGTH, Fraction(1609344, 1000)) for name in ("mi", "mile")},
    **{name: (_MASS, Fraction(1)) for name in ("kg", "kilogram")},
    **{name: (_MASS, Fraction(1, 1000)) for name in ("g", "gram")},
    **{name: (_MASS, Fraction(45359237, 100000000)) for name in ("lb", "pound")},
    **{name: (_MASS, Fraction(45359237, 1600000000)) for name in ("oz", "ounce")},
    **{name: (_TIME, Fraction(1)) for name in ("s", "sec", "second")},
    **{name: (_TIME, Fraction(60)) for name in ("min", "minute")},
    **{name: (_TIME, Fraction(3600)) for name in ("h", "hr", "hour")},
    **{name: (_TIME, Fraction(86400)) for name in ("day",)},
    **{name: (_TIME, Fraction(604800)) for name in ("week",)},
    **{name: (_VOLUME, Fraction(1)) for name in ("L", "liter", "litre")},
    **{name: (_VOLUME, Fraction(1, 1000)) for name in ("mL", "ml", "milliliter", "millilitre")},
    **{name: (_MONEY, Fraction(1)) for name in ("dollar", "buck", "usd")},
    **{name: (_MONEY, Fraction(1, 100)) for name in ("cent",)},
    **{
        name: (symbol, Fraction(1))
        for symbol, names in {
            "newton": ("N", "newton"), "joule": ("J", "joule"), "watt": ("W", "watt"),
            "kelvin": ("K", "kelvin"), "volt": ("V", "volt"), "hertz": ("Hz", "hertz"),
            "erg": ("erg",), "radian": ("rad", "radian"), "unit": ("unit",), "euro": ("euro",),
        }.items()
        for name in names
    },
}  # fmt: skip
_SHORTHANDS = {"mph": "mile/hour", "kmh": "km/hour", "kph": "km/hour", "sq": "square", "cu": "cubic"}
_POWERS = {"square": 2, "cubic": 3, "squared": 2, "cubed": 3}
_NOT_UNITS = frozenset(
    """or and not less more than least most if is no none only where for all any with mod over plus minus
    times""".split()
)

_TOKEN = re.compile(r"\\text\{([^{}]*)\}|\^\{?(-?\d)\}?|(/)|\\cdot|([a-zA-Z]+)|[ .]+")
_WORD = re.compile("[a-zA-Z]+|/")
_BEHIND = re.compile(r"(?:\\text\{[^{}]*\}|\^\{?-?\d\}?|/|\\cdot|[ .]|[a-zA-Z]+(?![a-zA-Z({]))+")
_VALUE_END = re.compile(r".*[\d})!.]|.*\\pi", re.DOTALL)
_FUNCTION = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![a-zA-Z])")  # its argument has the degrees
_TEMPERATURE = re.compile(r"\^\\circ(?:\\text\{)?([CF])\}?")


@dataclass(frozen=True)
class Unit:
    """What a value counts."""

    dimensions: frozenset[tuple[str, int]]
    """Each base quantity, or word, with its power."""
    factor: Fraction
    """How many base units it is."""


_DEGREE = Unit(frozenset({("degree", 1)}), Fraction(1))
_PERCENT = Unit(frozenset({("percent", 1)}), Fraction(1))
_DOLLAR = Unit(frozenset({(_MONEY, 1)}), Fraction(1))
_SIGNS = {r"\$": _DOLLAR, "%": _PERCENT, r"^\circ": _DEGREE, r"\text{degrees}": _DEGREE}


def split_unit(text: str) -> tuple[str, Unit | None]:
    """A tidy text as its value and its unit; all of it is value when there is no unit."""
    text = text.removesuffix(r"^\text{th}")
    if text.startswith((r"\$", r"-\$")):
        return text.replace(r"\$", "", 1), _DOLLAR
    for suffix, unit in _SIGNS.items():
        if text.endswith(suffix) and len(text) > len(suffix) and not _FUNCTION.search(text):
            return text.removesuffix(suffix), unit
    if match := _TEMPERATURE.search(text):
        if match.end() == len(text):
            return text[: match.start()], Unit(frozenset({(f"degree {match[1]}", 1)}), Fraction(1))
    start = _start_of_unit(text)
    unit = _read_unit(text[start:]) if start else None
    return (text[:start], unit) if unit else (text, None)


def _start_of_unit(text: str) -> int:
    r"""Where the words at the end of a value begin; 0 when there are none."""
    for match in re.finditer(r"\\text\{|(?<![\\a-zA-Z])[a-zA-Z]", text):
        head = text[: match.start()].rstrip()
        if head and _VALUE_END.fullmatch(head) and _BEHIND.fullmatch(text, match.start()):
            return match.start()
    return 0


def _read_unit(text: str) -> Unit | None:
    powers: Counter[str] = Counter()
    factor, direction, next_power, last = Fraction(1), 1, 1, None
    for marked, exponent, slash, bare in _TOKEN.findall(text):
        if exponent and last:
            name, size = last
            extra = direction * (int(exponent) - 1)
            powers[name] += extra
            factor *= size**extra
        elif slash:
            direction = -1
        for word in _expanded(marked or bare):
            if word in ("/", "per", "a", "each"):
                direction = -1
            elif word in _POWERS:
                next_power = _POWERS[word]
            else:
                measured = _measure(word, is_marked=bool(marked))
                if measured is None:
                    return None
                last = measured
                powers[last[0]] += direction * next_power
                factor *= last[1] ** (direction * next_power)
                next_power = 1
    dimensions = frozenset((name, power) for name, power in powers.items() if power)
    return Unit(dimensions, factor) if dimensions else None


def _expanded(words: str) -> list[str]:
    return [
        token for part in _WORD.findall(words) for token in _WORD.findall(_SHORTHANDS.get(part.lower(), part))
    ]


def _measure(word: str, *, is_marked: bool) -> tuple[str, Fraction] | None:
    """The base quantity and size of a unit; a word that is none measures itself; None for what is no word."""
    if len(word) == 1:
        return _KNOWN.get(word) if is_marked else None
    for name in (word, word.lower(), word.lower().removesuffix("s")):
        if name in _KNOWN and (len(name) > 1):
            return _KNOWN[name]
    is_word = is_marked or (len(word) >= 3 and list(word) != sorted(word))
    if not is_word or word.lower() in _NOT_UNITS:
        return None
    return word.lower().removesuffix("s").removesuffix("e"), Fraction(1)


def conversion(one: Unit | None, other: Unit | None) -> str | None:
    """What a value in `one` is multiplied by to be in `other`; None when they measure different things.

    A unit that is missing on one side is taken to be the other's.
    """
    if one is None or other is None:
        return "1"
    if one.dimensions != other.dimensions:
        return None
    factor = one.factor / other.factor
    return rf"\frac{{{factor.numerator}}}{{{factor.denominator}}}" if factor != 1 else "1"


def number_of(unit: Unit | None) -> str:
    """What a unit is worth that is a number: a percent, or a degree of an angle; 1 for any other."""
    return {_PERCENT: r"\frac{1}{100}", _DEGREE: r"\frac{\pi}{180}"}.get(unit, "1")

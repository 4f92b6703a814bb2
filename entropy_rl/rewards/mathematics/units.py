r"""Units behind (or, for money, before) a value, and words that multiply it: 3\text{ dozen eggs} are 36 eggs.

A single letter is a unit only where it is marked as one, \text{m} or \mathrm{m}: elsewhere it is a variable,
so that a/2 and c/2 differ, and 2m and 2s.
"""

import re
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction

from entropy_rl.rewards.mathematics.numbers import ARITHMETIC_WORDS, MULTIPLIERS, read_number
from entropy_rl.rewards.mathematics.unit_table import DOLLAR, KNOWN, PLAIN_SYMBOLS, Measure

_SHORTHANDS = {"mph": "mile/hour", "kmh": "km/hour", "kph": "km/hour", "sq": "square", "cu": "cubic"}
_POWERS = {"square": 2, "cubic": 3, "squared": 2, "cubed": 3}
_NOT_UNITS = ARITHMETIC_WORDS.union(
    """less more than least most if is no none only where for all any with of out by wrong correct
    incorrect true false approximately about exactly""".split()
)

_TOKEN = re.compile(r"\\text\{([^{}]*)\}|\^\{?(-?\d)\}?|(/)|\\cdot|([a-zA-Z]+)|[ .]+")
_WORD = re.compile("[a-zA-Z]+|/")
_BEHIND = re.compile(r"(?:\\text\{[^{}]*\}|\^\{?-?\d\}?|/|\\cdot|[ .]|[a-zA-Z]+(?![a-zA-Z({]))+")
_VALUE_END = re.compile(r".*[\d})!.]|.*\\pi", re.DOTALL)
_FUNCTION = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![a-zA-Z])")  # its argument has the degrees
_OHM = re.compile(r"(?<=[\d}])(?:\\text\{([kMm])\})?\\Omega")
_MICRO = re.compile(r"\\mu ?\\text\{(?=[a-zA-Z])")
_TEMPERATURE = re.compile(r"\^\\circ(?:\\text\{)?([CF])\}?")


@dataclass(frozen=True)
class Unit:
    """What a value counts."""

    dimensions: frozenset[tuple[str, int]]
    """Each base quantity, or word, with its power."""
    factor: Fraction
    """How many base units it is."""
    multiple: Fraction = Fraction(1)
    """What its words multiply the value by, whatever the other unit is: 12 in dozen eggs."""


DEGREE = Unit(frozenset({("degree", 1)}), Fraction(1))
PERCENT = Unit(frozenset({("percent", 1)}), Fraction(1))
_DOLLAR = Unit(frozenset(DOLLAR[0]), DOLLAR[1])
_SIGNS = {r"\$": _DOLLAR, "%": PERCENT, r"^\circ": DEGREE, r"\text{degrees}": DEGREE}


def split_unit(text: str) -> tuple[str, Unit | None]:
    """A tidy text as its value and its unit; all of it is value when there is no unit."""
    text = text.removesuffix(r"^\text{th}")
    text = _MICRO.sub(r"\\text{u", _OHM.sub(r"\\text{\1ohm}", text))
    if text.startswith((r"\$", r"-\$")):
        value, unit = split_unit(text.replace(r"\$", "", 1))
        return value, unit or _DOLLAR
    for suffix, unit in _SIGNS.items():
        if text.endswith(suffix) and len(text) > len(suffix) and not _FUNCTION.search(text):
            return text.removesuffix(suffix), unit
    if match := _TEMPERATURE.search(text):
        if match.end() == len(text):
            return text[: match.start()], Unit(frozenset({(f"degree {match[1]}", 1)}), Fraction(1))
    start = _start_of_unit(text)
    unit = _read_unit(text[start:], is_apart=text[start - 1] == " ") if start else None
    if unit is None:
        return text, None
    return times(text[:start].strip(), unit.multiple), unit if unit.dimensions else None


def times(value: str, factor: Fraction) -> str:
    """A tidy text multiplied: exactly where it is a number."""
    if factor == 1:
        return value
    if number := read_number(value):
        factor, value = factor * number.value, ""
    text = rf"\frac{{{factor.numerator}}}{{{factor.denominator}}}"
    return rf"({value})\cdot{text}" if value else text


def _start_of_unit(text: str) -> int:
    r"""Where the words at the end of a value begin; 0 when there are none."""
    for match in re.finditer(r"\\text\{|(?<![\\a-zA-Z])[a-zA-Z]", text):
        head = text[: match.start()].rstrip()
        if head and _VALUE_END.fullmatch(head) and _BEHIND.fullmatch(text, match.start()):
            return match.start()
    return 0


def _read_unit(text: str, *, is_apart: bool) -> Unit | None:
    powers: Counter[str] = Counter()
    factor, multiple, direction, next_power, last = Fraction(1), Fraction(1), 1, 1, None
    for marked, exponent, slash, bare in _TOKEN.findall(text):
        if exponent and last:
            extra = direction * (int(exponent) - 1)
            powers.update({name: power * extra for name, power in last[0]})
            factor *= last[1] ** extra
        elif slash:
            direction = -1
        for word in _expanded(marked or bare):
            if word in ("/", "per", "a", "each"):
                direction = -1
            elif word in _POWERS:
                next_power = _POWERS[word]
            elif word.lower() in MULTIPLIERS:
                multiple *= MULTIPLIERS[word.lower()] ** direction
            else:
                last = _measure(word, is_marked=bool(marked or powers), is_apart=is_apart)
                if last is None:
                    return None
                powers.update({name: power * direction * next_power for name, power in last[0]})
                factor *= last[1] ** (direction * next_power)
                next_power = 1
    dimensions = frozenset((name, power) for name, power in powers.items() if power)
    return Unit(dimensions, factor, multiple) if dimensions or multiple != 1 else None


def _expanded(words: str) -> list[str]:
    return [
        token for part in _WORD.findall(words) for token in _WORD.findall(_SHORTHANDS.get(part.lower(), part))
    ]


def _measure(word: str, *, is_marked: bool, is_apart: bool) -> Measure | None:
    """What a unit measures; a word that is none measures itself; None for what is no word.

    The case of symbols counts: MW and mW.
    """
    if len(word) == 1:
        return KNOWN.get(word) if is_marked else None
    lower = word.lower()
    if word in KNOWN and (is_marked or is_apart or len(word) > 3 or word in PLAIN_SYMBOLS):
        return KNOWN[word]
    names = (lower, lower.removesuffix("s"))
    for name in names:
        if name in PLAIN_SYMBOLS or (len(name) > 2 and name in KNOWN):
            return KNOWN[name]
    is_word = is_marked or (len(word) >= 3 and list(word) != sorted(word))
    if not is_word or lower in _NOT_UNITS:
        return None
    return ((names[1].removesuffix("e"), 1),), Fraction(1)


def conversion(one: Unit | None, other: Unit | None) -> Fraction | None:
    """What a value in `one` is multiplied by to be in `other`; None when they measure different things.

    A unit that is missing on one side is taken to be the other's.
    """
    if one is None or other is None:
        return Fraction(1)
    return one.factor / other.factor if one.dimensions == other.dimensions else None


def as_number(value: str, unit: Unit | None) -> str:
    """A value with the unit that is a number, a percent or a degree of an angle; any other is left out."""
    if unit == DEGREE:
        return rf"({value})\cdot\frac{{\pi}}{{180}}"
    return times(value, Fraction(1, 100)) if unit == PERCENT else value

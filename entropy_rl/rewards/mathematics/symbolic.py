r"""Equality of expressions: math-verify's parser and comparison, within bounds for hostile text.

The parser drops primes and reads any word as a product of letters, so a text is given to it only when every
command and letter of it means what the parser takes it for. The comparison simplifies, which may take any
time: numeric values at fixed points go before it, and refute nearly all pairs that differ.
"""

import math
import random
import re
from fractions import Fraction
from functools import lru_cache

import sympy
from latex2sympy2_extended import latex2sympy
from latex2sympy2_extended.latex2sympy2 import ConversionConfig
from math_verify import verify

from entropy_rl.rewards.mathematics.numbers import read_number, stands_for

MAX_CHARACTERS = 300
MAX_PARENTHESES = 4
"""Deeper ones cost the parser exponentially much time."""
MAX_BRACES = 8
MAX_EXPONENT = 10_000
MAX_ARGUMENT = 5000
"""Of factorials and binomial coefficients."""
MAX_SIMPLIFIED_SIZE = 40
"""Operations in expressions that are still simplified; larger ones are compared by their values only."""

_NUM_DIGITS = 30
_NUM_POSITIVE_POINTS, _NUM_SIGNED_POINTS, _NUM_WHOLE_POINTS = 2, 8, 4
_TOLERANCE = sympy.Float("1e-20", _NUM_DIGITS)
_FLOAT_TOLERANCE = sympy.Float("1e-12", _NUM_DIGITS)
_SMALLEST = sympy.Float("1e-8", _NUM_DIGITS)  # at points near 1, what is less is rounding

_UNDERSTOOD = frozenset(
    """frac sqrt cdot pi binom sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh log ln exp circ
    lfloor rfloor lceil rceil alpha beta delta epsilon zeta eta theta kappa lambda mu nu xi rho sigma tau phi
    chi psi omega Delta Omega Phi Theta Lambda Sigma varphi varepsilon hbar""".split()
)
_COMMAND = re.compile(r"\\([a-zA-Z]+|.)", re.DOTALL)
_FOREIGN = re.compile(r"[^\w\s{}()\[\].+\-*/^!|]")
_EXPONENT = re.compile(r"\^\{?[-+]?(\d+)")
_POWER_TOWER = re.compile(r"\^\{[^{}]*\^\{[^{}]*\^|\^\{[^{}]*\d\^\{?\d{2,}")
_POWER_OF_POWER = re.compile(r"\^\{?(\d{1,4})\d*\^\{?(\d{1,4})")
_POWER_OF_BRACKET = re.compile(r"[)}\]]\^\{?\d{2}")
_FACTORIAL = re.compile(r"(\d+)[)}]*!")
_FACTORIAL_OF_MORE = re.compile(r"[!\^][^+\-,]*\)!")
_BINOMIAL = re.compile(r"\\binom\{(\d+)\}")
_DEGREES = re.compile(r"(\d+(?:\.\d+)?)\^\\circ ?")
_MARKED_INDEX = re.compile(r"_\{?\\text\{(\w+)\}\}?")
_VARIABLE = re.compile(r"(?<![\\a-zA-Z])[a-df-hj-zA-DF-HJ-Z](?![a-zA-Z])")
_ADJACENT_CAPITALS = re.compile(r"(?<![\\a-zA-Z])[A-Z](?: ?[A-Z])+(?![a-z])")
_COMMAND_OR_I = re.compile(r"(\\[a-zA-Z]+)|I")
_NUMBER_WITH_INDEX = re.compile(r"\d_")
_MAY_BE_CONSTANT = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc).*\\(?:sin|cos|tan|cot|sec|csc)")
_ODD_ROOT_OF_NEGATIVE = re.compile(r"\\sqrt\[([3579])\]\{-(\d+(?:\.\d+)?)\}")
_CONVERSION = ConversionConfig(lowercase_symbols=False)


class NotReadableError(ValueError):
    """The text is no expression that is understood and bounded."""


_REFUSALS = (NotReadableError, ArithmeticError, AttributeError, NotImplementedError, RecursionError)
_REFUSALS += (TypeError, ValueError)
"""What reading, and sympy on an odd expression, raise."""


def expressions_equal(one: str, other: str) -> str | None:
    """How two tidy texts were found equal, "math-verify" or "numeric"; None when they were not."""
    pairs = ((one, other), (other, one))
    if any(read_number(a) and _VARIABLE.search(b) and not _MAY_BE_CONSTANT.search(b) for a, b in pairs):
        return None  # most wrong answers end here, before the parser has cost anything
    if _capitals(one) != _capitals(other):
        return None
    try:
        a, b = _read(one), _read(other)
        agree = _values_agree(a, b)
        if agree is False:
            return "numeric" if _is_rounded(one, b) or _is_rounded(other, a) else None
        if _size(a) + _size(b) <= MAX_SIMPLIFIED_SIZE and verify(a, b, timeout_seconds=None):
            return "math-verify"
    except _REFUSALS:
        return None
    return "numeric" if agree else None


def _capitals(text: str) -> list[str]:
    """The runs of capitals, which keep their order: AC and CA are segments or matrices, and no products."""
    return sorted(run.replace(" ", "") for run in _ADJACENT_CAPITALS.findall(text))


def equations_equal(one: tuple[str, str], other: tuple[str, str]) -> bool:
    """Whether two equations, each as its two sides, differ by a constant factor and by order only."""
    try:
        a, b = (_read(left) - _read(right) for left, right in (one, other))
        if not a.free_symbols or a.free_symbols != b.free_symbols:
            return False
        ratios = [ratio for values in _points(a, b) if (ratio := _value(a / b, values)) is not None]
    except _REFUSALS:
        return False
    if len(ratios) < 2 or ratios[0] == 0:
        return False
    return all(_close(ratio, ratios[0], _TOLERANCE, smallest=0) for ratio in ratios)


@lru_cache(maxsize=512)  # the answers of one problem come one after the other
def _read(text: str) -> sympy.Expr:
    text = _MARKED_INDEX.sub(r"_{\1}", text)
    _refuse_unbounded(text)
    _refuse_unknown(text)
    text = _DEGREES.sub(r"(\1\\cdot\\frac{\\pi}{180})", text)
    text = _ODD_ROOT_OF_NEGATIVE.sub(r"(-\\sqrt[\1]{\2})", text)
    text = _COMMAND_OR_I.sub(lambda match: match[1] or r"\Upsilon ", text)  # I would be the imaginary unit
    try:
        expression = latex2sympy(text, normalization_config=None, conversion_config=_CONVERSION)
    except Exception as error:  # the parser says all it has to say with this class
        raise NotReadableError(type(error).__name__) from error
    if not isinstance(expression, sympy.Expr):
        raise NotReadableError(type(expression).__name__)
    return expression.xreplace({sympy.Symbol("i"): sympy.I})


def _refuse_unbounded(text: str) -> None:
    depths = {"(": 0, "{": 0}
    limits = {"(": MAX_PARENTHESES, "{": MAX_BRACES}
    for character in text:
        opening = {")": "(", "}": "{"}.get(character, character)
        if opening in depths:
            depths[opening] += 1 if character == opening else -1
            if depths[opening] > limits[opening]:
                raise NotReadableError("nested too deeply")
    exponents = [int(digits[:9]) for digits in _EXPONENT.findall(text)]
    arguments = [int(digits[:9]) for digits in _FACTORIAL.findall(text) + _BINOMIAL.findall(text)]
    if (
        len(text) > MAX_CHARACTERS
        or max(exponents, default=0) > MAX_EXPONENT
        or max(arguments, default=0) > MAX_ARGUMENT
        or _POWER_TOWER.search(text)
        or any(int(base) ** int(power) > MAX_EXPONENT for base, power in _POWER_OF_POWER.findall(text))
        or (_POWER_OF_BRACKET.search(text) and math.prod(sorted(exponents)[-2:]) > MAX_EXPONENT)
        or "!!" in text
        or _FACTORIAL_OF_MORE.search(text)
    ):
        raise NotReadableError("too large a number, or too long")


def _refuse_unknown(text: str) -> None:
    commands = _COMMAND.findall(text)
    if not text.isascii() or _FOREIGN.search(_COMMAND.sub(" ", text)) or not _UNDERSTOOD.issuperset(commands):
        raise NotReadableError("a command or character that is not understood")
    if _NUMBER_WITH_INDEX.search(text):
        raise NotReadableError("a number with an index, which the parser would leave out")


def _values_agree(a: sympy.Expr, b: sympy.Expr) -> bool | None:
    """Whether two expressions have the same values at some points; None when they have none there."""
    tolerance = _FLOAT_TOLERANCE if a.has(sympy.Float) or b.has(sympy.Float) else _TOLERANCE
    num_compared = 0
    for values in _points(a, b):
        x, y = _value(a, values), _value(b, values)
        if x is None or y is None:
            if x is not y and not _is_whole(values):
                return False
            continue  # at a whole point one of them may have a pole, as n!/(n-k)! for n < k
        num_compared += 1
        if not _close(x, y, tolerance, smallest=_SMALLEST if values else 0):
            return False
    return True if num_compared else None


def _points(a: sympy.Expr, b: sympy.Expr) -> list[dict]:
    """Values for the variables of both: positive, of all signs, and whole, for the sake of floor and ceiling.

    The signs are drawn for each variable, so that ab and |ab| differ somewhere; and the same ones every time.
    """
    names = sorted(a.free_symbols | b.free_symbols, key=str)
    if not names:
        return [{}]
    draw = random.Random(len(names))
    signs = [(1,)] * _NUM_POSITIVE_POINTS + [(1, -1)] * _NUM_SIGNED_POINTS
    points = [{name: (draw.choice(s) * (2 * draw.randint(15, 150) + 1), 96) for name in names} for s in signs]
    points += [  # all parities of two variables
        {name: (2 * draw.randint(6, 20) + (i >> j & 1), 1) for j, name in enumerate(names)}
        for i in range(_NUM_WHOLE_POINTS)
    ]
    return [
        {name: sympy.Float(sympy.Rational(*pair), _NUM_DIGITS) for name, pair in point.items()}
        for point in points
    ]


def _is_whole(values: dict) -> bool:
    return bool(values) and all(float(value).is_integer() for value in values.values())


def _value(expression: sympy.Expr, values: dict) -> sympy.Expr | None:
    try:
        value = expression.xreplace(values).evalf(_NUM_DIGITS)
    except ValueError:  # a pole of the factorial
        return None
    # A number of no certain digit is what is left of a zero: 0.e-138.
    value = value.xreplace({part: sympy.Integer(0) for part in value.atoms(sympy.Float) if part._prec == 1})
    return value if value.is_number and value.is_finite else None


def _close(x: sympy.Expr, y: sympy.Expr, tolerance: sympy.Float, *, smallest: sympy.Float | int) -> bool:
    return bool(abs(x - y) <= tolerance * max(abs(x), abs(y), smallest))


def _is_rounded(text: str, exact: sympy.Expr) -> bool:
    """Whether a text is a decimal that stands for the exact value of a constant."""
    decimal, value = read_number(text), _value(exact, {})
    if decimal is None or value is None or not value.is_real:
        return False
    return stands_for(decimal, Fraction(str(value)))


def _size(expression: sympy.Expr) -> int:
    return int(expression.count_ops())

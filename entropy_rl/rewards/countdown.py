"""Countdown's arithmetic: a small language of expressions, its exact verifier and its normal form.

An expression is written with integer literals, + - * and parentheses; there is no unary sign and no
division. It solves (numbers, target) when it uses every given number exactly once and its value is the
target. Model output is hostile input: it is parsed by hand, never evaluated, and length and depth are
bounded before any arithmetic is done.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

MAX_LENGTH = 256
"""Longest expression read, in characters; it also bounds the depth of the tree."""
MAX_DEPTH = 32
"""Deepest nesting of parentheses read."""

_DIGITS = frozenset("0123456789")

Node = int | tuple
"""A literal, or (operator, left, right) with operator one of + - *."""


class ExpressionError(ValueError):
    """The text is not an expression of the language; the message says at which character and why."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the verifier found out about one expression."""

    valid: bool
    """It parses, and uses every given number exactly once."""
    correct: bool
    """It is valid and reaches the target."""
    value: int | None
    """Its value; None when it is not valid."""
    reason: str
    """Why it is not correct; empty when it is."""


def verify(expression: str, numbers: tuple[int, ...], target: int) -> Verdict:
    """Judges an expression exactly; any text whatever is accepted and nothing is raised."""
    try:
        node = parse(expression)
    except ExpressionError as error:
        return Verdict(valid=False, correct=False, value=None, reason=str(error))
    if Counter(literals(node)) != Counter(numbers):
        reason = f"uses {sorted(literals(node))}, not each of {sorted(numbers)} once"
        return Verdict(valid=False, correct=False, value=None, reason=reason)
    value = evaluate(node)
    reason = "" if value == target else f"the value is {value}, not {target}"
    return Verdict(valid=True, correct=value == target, value=value, reason=reason)


def parse(expression: str) -> Node:
    """Reads an expression into a tree; spaces may stand around numbers, operators and parentheses.

    Raises ExpressionError for anything outside the language, including a literal with a leading zero, so
    that a number has one spelling.
    """
    if len(expression) > MAX_LENGTH:
        raise ExpressionError(f"longer than {MAX_LENGTH} characters")
    return _Parser(expression.strip(" ")).read_all()


class _Parser:
    """Recursive descent over: sum := product (+|- product)*, product := factor (* factor)*."""

    def __init__(self, text: str):
        self.text = text
        self.position = 0

    def read_all(self) -> Node:
        node = self.read_sum(depth=0)
        if self.position < len(self.text):
            raise self.error("expected an operator or the end")
        return node

    def read_sum(self, depth: int) -> Node:
        node = self.read_product(depth)
        while self.peek() in ("+", "-"):
            node = (self.take(), node, self.read_product(depth))
        return node

    def read_product(self, depth: int) -> Node:
        node = self.read_factor(depth)
        while self.peek() == "*":
            node = (self.take(), node, self.read_factor(depth))
        return node

    def read_factor(self, depth: int) -> Node:
        if self.peek() != "(":
            return self.read_literal()
        if depth == MAX_DEPTH:
            raise self.error(f"parentheses are nested deeper than {MAX_DEPTH}")
        self.take()
        node = self.read_sum(depth + 1)
        if self.peek() != ")":
            raise self.error("expected )")
        self.take()
        return node

    def read_literal(self) -> int:
        end = self.position
        while self.text[end : end + 1] in _DIGITS:
            end += 1
        digits = self.text[self.position : end]
        if not digits:
            raise self.error("expected a number or (")
        if digits[0] == "0" and len(digits) > 1:
            raise self.error("a number must not begin with 0")
        return int(self.take(len(digits)))

    def peek(self) -> str:
        return self.text[self.position : self.position + 1]

    def take(self, num_characters: int = 1) -> str:
        """Passes over a token and the spaces behind it."""
        token = self.text[self.position : self.position + num_characters]
        self.position += num_characters
        while self.peek() == " ":
            self.position += 1
        return token

    def error(self, expected: str) -> ExpressionError:
        return ExpressionError(f"{expected}; got {self.peek() or 'the end'!r} at character {self.position}")


def literals(node: Node) -> Iterator[int]:
    """The numbers of an expression, from left to right."""
    if isinstance(node, int):
        yield node
    else:
        yield from literals(node[1])
        yield from literals(node[2])


def evaluate(node: Node) -> int:
    """The value of an expression, exactly."""
    if isinstance(node, int):
        return node
    operator, left, right = node[0], evaluate(node[1]), evaluate(node[2])
    if operator == "*":
        return left * right
    return left + right if operator == "+" else left - right


def render(node: Node) -> str:
    """Writes an expression with no more parentheses than its value needs."""
    if isinstance(node, int):
        return str(node)
    operator, left, right = node
    left_text = _parenthesise(left) if operator == "*" else render(left)
    right_text = render(right) if operator == "+" else _parenthesise(right)
    return left_text + operator + right_text


def _parenthesise(node: Node) -> str:
    is_sum = isinstance(node, tuple) and node[0] in "+-"
    return f"({render(node)})" if is_sum else render(node)


def normal_form(node: Node) -> str:
    """One spelling for all expressions that differ only by the order and grouping of + - and of *.

    Sums and products are flattened and sorted: 7+5*3 and 3*5+7 are one solution written twice, and so are
    8-(5-2) and 2+8-5. The normal form is itself an expression of the same value.
    """
    terms = sorted(_signed_terms(node, +1), key=lambda term: _by_length(term[1]))
    plus = [form for sign, form in terms if sign > 0]
    minus = [form for sign, form in terms if sign < 0]
    return "+".join(plus) + "".join("-" + form for form in minus)


def _signed_terms(node: Node, sign: int) -> Iterator[tuple[int, str]]:
    if isinstance(node, tuple) and node[0] in "+-":
        yield from _signed_terms(node[1], sign)
        yield from _signed_terms(node[2], sign if node[0] == "+" else -sign)
    else:
        yield sign, "*".join(sorted(_factors(node), key=_by_length))


def _factors(node: Node) -> Iterator[str]:
    if isinstance(node, int):
        yield str(node)
    elif node[0] == "*":
        yield from _factors(node[1])
        yield from _factors(node[2])
    else:
        yield f"({normal_form(node)})"


def _by_length(form: str) -> tuple[int, str]:
    return len(form), form


def solutions(numbers: tuple[int, ...], target: int) -> frozenset[str]:
    """The normal forms of all right answers to a problem: the measure of how diverse answers can be.

    Enumerates everything: a problem of 5 numbers takes seconds, and each further number about 30 times more.
    """
    return frozenset(form for form, value in _all_forms(tuple(sorted(numbers))).items() if value == target)


@lru_cache(maxsize=4096)
def _all_forms(numbers: tuple[int, ...]) -> dict[str, int]:
    """Every normal form over all of the sorted numbers, with its value."""
    if len(numbers) == 1:
        return {str(numbers[0]): numbers[0]}
    forms: dict[str, int] = {}
    for left, right in _splits(numbers):
        for left_form in _all_forms(left):
            for right_form in _all_forms(right):
                for operator in "+-*":
                    node = (operator, parse(left_form), parse(right_form))
                    forms[normal_form(node)] = evaluate(node)
    return forms


def _splits(numbers: tuple[int, ...]) -> set[tuple[tuple[int, ...], tuple[int, ...]]]:
    """All ordered divisions of the numbers into two parts that are not empty."""
    indices = range(len(numbers))
    return {
        (tuple(numbers[i] for i in chosen), tuple(numbers[i] for i in indices if i not in chosen))
        for size in range(1, len(numbers))
        for chosen in combinations(indices, size)
    }

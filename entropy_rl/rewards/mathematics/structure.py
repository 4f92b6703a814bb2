r"""What an answer consists of: tuples and intervals, sets and lists, matrices, relations; or values."""

import re
from dataclasses import dataclass

MAX_DEPTH = 16
"""Deepest nesting of brackets that is taken apart."""

_OPENING = re.compile(r"\\\{|\\lfloor|\\lceil|\\begin\{\w+\}|[({\[]")
_BRACKET = re.compile(rf"({_OPENING.pattern})|\\\}}|\\rfloor|\\rceil|\\end\{{\w+\}}|[)}}\]]")
_SEPARATOR = re.compile(
    r"(?<!\d),|,(?!0\d\d(?!\d))|;"  # the comma of 1,000 parts nothing
    r"|\\text\{(?:and|or)\}|\s(?:and|or|AND|OR)\s|(?<=[\d)}])(?:and|or)(?=[\d({\\-])"
)
_UNION = re.compile(r"\\cup(?![a-zA-Z])")
_OPERATOR = re.compile(r"=|<|>|\\(?:leq|geq|neq|in|approx|equiv|to)(?![a-zA-Z]) ?")
_SIGNS = re.compile(r"\\pm(?![a-zA-Z]) ?")
_CELL, _ROW = re.compile("&"), re.compile(r"\\\\")
_MATRIX = re.compile(r"\\begin\{([pbvBV]?)(?:small)?matrix\}(.*)\\end\{\1(?:small)?matrix\}", re.DOTALL)
_ARRAY = re.compile(r"\\begin\{array\}(?:\{[^{}]*\})?(.*)\\end\{array\}", re.DOTALL)
_THOUSANDS = re.compile(r"(?<![\d.])(?<!\d,)[1-9]\d{0,2}(?:,\d{3})+(?!,?\d)")
_BRACKET_OR_THOUSANDS = re.compile(rf"{_BRACKET.pattern}|{_THOUSANDS.pattern}")


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """(1,2), [0,1): items in order, the brackets count."""

    opening: str
    items: tuple[str, ...]
    closing: str


@dataclass(frozen=True, kw_only=True)
class Collection:
    r"""Items in any order: a set in braces, a union, or several answers written one after the other."""

    kind: str
    """braces, union or list."""
    items: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """Rows of cells; the brackets do not count, but a determinant is no matrix."""

    is_determinant: bool
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Relation:
    """Sides with a relation between each two."""

    sides: tuple[str, ...]
    operators: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Value:
    """Whatever has no structure that matters here."""

    text: str


Structure = Sequence | Collection | Matrix | Relation | Value


def read_structure(text: str, *, thousands: bool = True) -> Structure:
    """The outermost structure of a tidy text; 1,234 is one value, or two where `thousands` is False.

    Inside brackets a comma parts: (1,234) are two values, unless another separator has a space, (1,234, 5).
    """
    if nesting(text) > MAX_DEPTH:
        return Value(text=text)
    if thousands:
        text = _without_thousands(text)
    items, _ = split(text, _SEPARATOR)
    if len(items) > 1:
        return Collection(kind="list", items=items)
    sides, operators = split(text, _OPERATOR)
    if operators:
        return Relation(sides=sides, operators=operators)
    items, _ = split(text, _UNION)
    if len(items) > 1:
        return Collection(kind="union", items=items)
    structure = _read_bracketed(text, thousands=thousands)
    if isinstance(structure, Value) and len(_SIGNS.findall(text)) == 1 and r"\mp" not in text:
        return Collection(kind="list", items=(_SIGNS.sub("+", text), _SIGNS.sub("-", text)))
    return structure


def _without_thousands(text: str) -> str:
    """Writes 1,234 as 1234 outside brackets; the braces of LaTeX are none."""
    joined, start, depth = [], 0, 0
    for mark in _BRACKET_OR_THOUSANDS.finditer(text):
        if mark.group()[0].isdigit():
            number = mark.group() if depth else mark.group().replace(",", "")
            joined += [text[start : mark.start()], number]
            start = mark.end()
        elif mark.group() not in ("{", "}"):
            depth += 1 if mark[1] else -1
    return "".join(joined) + text[start:]


def _read_bracketed(text: str, *, thousands: bool) -> Structure:
    if match := _MATRIX.fullmatch(text) or _ARRAY.fullmatch(text):
        rows, _ = split(match.groups()[-1], _ROW)
        cells = tuple(split(row, _CELL)[0] for row in rows if row)
        return Matrix(is_determinant=match.re is _MATRIX and match[1] in ("v", "V"), rows=cells)
    opening = _OPENING.match(text)
    if not opening or opening.group() not in ("(", "[", r"\{") or not _is_one_bracket(text):
        return Value(text=text)
    closing = r"\}" if text.endswith(r"\}") else text[-1]
    inner = text[opening.end() : -len(closing)].strip()
    if thousands and re.search("[,;] ", inner):
        inner = _without_thousands(inner)
    items, _ = split(inner, _SEPARATOR)
    if opening.group() == r"\{" and closing == r"\}":
        is_list = not re.search(r"[|:]", inner)  # otherwise it says which elements, and does not name them
        return Collection(kind="braces", items=items if inner else ()) if is_list else Value(text=text)
    if len(items) > 1 and r"\{" not in (opening.group(), closing):
        return Sequence(opening=opening.group(), items=items, closing=closing)
    return read_structure(inner) if (opening.group(), closing) == ("(", ")") else Value(text=text)


def nesting(text: str) -> int:
    """How deep the brackets of a text go."""
    deepest = depth = 0
    for bracket in _BRACKET.finditer(text):
        depth += 1 if bracket[1] else -1
        deepest = max(deepest, depth)
    return deepest


def _is_one_bracket(text: str) -> bool:
    """Whether the bracket that opens a text closes at its end."""
    depth = 0
    for bracket in _BRACKET.finditer(text):
        depth += 1 if bracket[1] else -1
        if depth == 0:
            return bracket.end() == len(text)
    return False


def split(text: str, separator: re.Pattern) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The parts of a text between separators outside all brackets, and the separators."""
    brackets = list(_BRACKET.finditer(text))
    parts, found, start, depth = [], [], 0, 0
    for match in separator.finditer(text):
        while brackets and brackets[0].start() < match.start():
            depth += 1 if brackets.pop(0)[1] else -1
        if depth == 0:
            parts.append(text[start : match.start()].strip())
            found.append(match.group().strip())
            start = match.end()
    parts.append(text[start:].strip())
    if found and not parts[-1] and separator is not _OPERATOR:
        parts, found = parts[:-1], found[:-1]
    return tuple(parts), tuple(found)

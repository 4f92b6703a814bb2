"""The tests of a programming problem, read from its answer: a JSON object in one of three forms.

{"inputs": ["2 3\\n", ...], "outputs": ["5\\n", ...]}: the program reads standard input and writes standard
output. Each text may also be a list of its lines.

{"fn_name": "add", "inputs": [[2, 3], ...], "outputs": [5, ...]}: the arguments and the value of a function,
or of a method of the class Solution. As in APPS, arguments may be the lines of a text, each in JSON, and a
value may be wrapped in a list of one.

{"asserts": ["assert add(2, 3) == 5", ...]}: each a test of its own; or {"test": "..."}, one program of tests.
Optional are "setup", text that precedes each test, and "entry_point", the function that a test's own function
`check` is called with (as in HumanEval). Names that the tests do not define are the program's functions.

These tests call functions in another process, with copies of plain data (`remote_calls`). What asks for more
than that no program can pass: a function that shall change its argument in place is a "wrong answer"; classes
under test and functions as arguments are "not plain data". Programs and tests have the standard library only.
"""

import json
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class StdinTest:
    """A text to read and the text to write."""

    stdin: str
    stdout: str


@dataclass(frozen=True, kw_only=True)
class CallTest:
    """Arguments of a function and what it returns."""

    function: str
    arguments: list
    value: object


@dataclass(frozen=True, kw_only=True)
class AssertTest:
    """A text that raises unless the program's functions are right."""

    setup: str
    text: str
    entry_point: str | None


UnitTest = StdinTest | CallTest | AssertTest


def read_tests(answer: str) -> list[UnitTest]:
    """The tests of an answer, all of one kind; empty when it is not in one of the forms."""
    try:
        fields = json.loads(answer)
        if not isinstance(fields, dict):
            return []
        if "asserts" in fields or "test" in fields:
            return _read_asserts(fields)
        name = fields.get("fn_name")
        pairs = zip(fields["inputs"], fields["outputs"], strict=True)
        if name is None:
            return [StdinTest(stdin=_text(given), stdout=_text(expected)) for given, expected in pairs]
        return [CallTest(function=_text(name), arguments=_arguments(g), value=value) for g, value in pairs]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []


def _read_asserts(fields: dict) -> list[UnitTest]:
    texts = [fields["test"]] if "test" in fields else fields["asserts"]
    setup, entry_point = _text(fields.get("setup", "")), fields.get("entry_point")
    entry_point = None if entry_point is None else _text(entry_point)
    return [AssertTest(setup=setup, text=_text(text), entry_point=entry_point) for text in texts]


def _arguments(given: object) -> list:
    if isinstance(given, str):
        return [json.loads(line) for line in given.splitlines()]
    if not isinstance(given, list):
        raise TypeError("arguments are a list")
    return given


def _text(given: object) -> str:
    if isinstance(given, list):
        return "\n".join(map(str, given))
    if not isinstance(given, str):
        raise TypeError("a text is a string, or a list of lines")
    return given

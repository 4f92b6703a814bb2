"""Calls of a program's functions from another sandbox, with plain data there and back.

This file's text is the beginning of what runs in two sandboxes (see `judge`), so it imports the standard
library alone. In one, `serve_calls` runs the untrusted program. In the other, which no untrusted text enters,
`check` runs the tests: a name that they use and nothing defines is the program's, and calling it sends the
arguments there and waits for the value. So the program sees neither the tests nor what they expect, and
nothing it does to its own interpreter changes how its values are compared.

Plain data are None, numbers, strings, bytes, and lists, tuples, sets and dictionaries of them; ranges,
iterators, and the likes of Counter and deque arrive as the nearest of those.
"""

import ast
import builtins
import json
import os
import sys

_MAX_REPLY_CHARACTERS = 2**24
EXIT_NOT_CARRIED = 97
_NUMBERS_AND_TEXT = (bool, int, float, str)


class NotPlain(TypeError):
    """The value is no plain data, and cannot leave its process."""


def encode(value):
    """Plain data as JSON's lists: containers are [kind, contents], the rest is itself."""
    if value is None or type(value) in _NUMBERS_AND_TEXT:
        return value
    if isinstance(value, complex):
        return ["complex", [value.real, value.imag]]
    if isinstance(value, bytes | bytearray):
        return ["bytes", bytes(value).hex()]
    if isinstance(value, dict):
        return ["dict", [[encode(key), encode(item)] for key, item in value.items()]]
    for kind, types in (("tuple", tuple), ("set", set), ("frozenset", frozenset)):
        if isinstance(value, types):
            return [kind, [encode(item) for item in value]]
    for base in _NUMBERS_AND_TEXT:
        if isinstance(value, base):
            return base(value)
    if hasattr(value, "__next__"):
        return ["iterator", [encode(item) for item in value]]
    if hasattr(value, "__iter__"):
        return ["list", [encode(item) for item in value]]
    raise NotPlain(f"{type(value).__name__} is no plain data")


def decode(coded):
    """The value that was encoded. Raises ValueError or TypeError for anything else."""
    if not isinstance(coded, list):
        if isinstance(coded, dict):
            raise ValueError("an object is no encoded value")
        return coded
    kind, contents = coded
    if kind == "complex":
        return complex(*contents)
    if kind == "bytes":
        return bytes.fromhex(contents)
    if kind == "dict":
        return {decode(key): decode(item) for key, item in contents}
    makers = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset, "iterator": iter}
    return makers[kind]([decode(item) for item in contents])


def find_function(namespace: dict, name: str):
    """The program's function of that name: its own, or a method of its class Solution."""
    if name in namespace:
        return namespace[name]
    return getattr(namespace["Solution"](), name)


def serve_calls(program: str) -> None:
    """Runs a program, then answers each line {"name", "args", "kwargs"} by {"value"} or {"error"}."""
    calls, replies = os.fdopen(os.dup(0), "r", encoding="utf-8"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    os.dup2(os.open("/dev/null", os.O_WRONLY), 1)  # what the program prints is no reply
    sys.set_int_max_str_digits(0)
    module = sys.modules["program"] = type(sys)("program")  # data classes look for the module they are in
    exec(compile(program, "program", "exec"), module.__dict__)
    for line in calls:
        try:
            call = json.loads(line)
            function = find_function(module.__dict__, call["name"])
            args = [decode(value) for value in call["args"]]
            kwargs = {name: decode(value) for name, value in call["kwargs"].items()}
            reply = {"value": encode(function(*args, **kwargs))}
        except Exception as error:  # whatever the program raises is its answer
            reply = {"error": type(error).__name__}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()
    os._exit(0)  # whatever threads the program left


class _NotCarried(BaseException):
    """A test needs what is no plain data: an argument, or a value of the program. Tests cannot catch it."""


class _ProgramEnded(BaseException):
    """The program's sandbox closed its end, or broke the form of replies. Tests cannot catch it unawares."""


class _Remote:
    """The program, seen from the tests."""

    def __init__(self):
        self._replies = os.fdopen(os.dup(0), "r", encoding="utf-8", errors="replace")
        self._calls = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(os.open("/dev/null", os.O_WRONLY), 1)

    def function(self, name: str):
        def call(*args, **kwargs):
            try:
                encoded = {key: encode(value) for key, value in kwargs.items()}
                request = {"name": name, "args": [encode(value) for value in args], "kwargs": encoded}
            except NotPlain as failure:
                raise _NotCarried from failure
            return self._call(request)

        call.__name__ = name
        return call

    def _call(self, request: dict):
        try:
            self._calls.write(json.dumps(request) + "\n")
            self._calls.flush()
            reply = json.loads(self._replies.readline(_MAX_REPLY_CHARACTERS))
            is_error = isinstance(reply, dict) and "error" in reply
            value = None if is_error else decode(reply["value"])
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as failure:
            raise _ProgramEnded from failure
        if is_error and reply["error"] == NotPlain.__name__:
            raise _NotCarried
        if is_error:
            raise _as_exception(reply["error"])
        return value


def _as_exception(name: object) -> Exception:
    """The built-in exception of that name, for tests that expect one; RuntimeError for any other.

    So it is for those that end a loop of the tests in silence, before its later assertions.
    """
    kind = getattr(builtins, name, None) if isinstance(name, str) else None
    is_exception = isinstance(kind, type) and issubclass(kind, Exception)
    is_exception = is_exception and not issubclass(kind, StopIteration | StopAsyncIteration)
    try:
        return kind("raised by the program") if is_exception else RuntimeError("raised by the program")
    except TypeError:
        return RuntimeError("raised by the program")  # a few want more arguments


def undefined_names(source: str) -> set[str]:
    """The names that a text reads and neither defines, imports nor finds among the built-in ones."""
    nodes = list(ast.walk(ast.parse(source)))
    names = [node for node in nodes if isinstance(node, ast.Name)]
    defined = {name.id for name in names if not isinstance(name.ctx, ast.Load)} | set(dir(builtins))
    defined |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            defined |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ExceptHandler) and node.name:
            defined.add(node.name)
    return {name.id for name in names} - defined


def check(setup: str, test: str, entry_point: str | None) -> None:
    """Runs a test; raises, so that its process fails, unless the program's functions pass it.

    It exits with EXIT_NOT_CARRIED where the test needs more than plain data.
    `entry_point` is the program's even where a built-in function has its name, and is what a test's function
    `check` is called with, where it defines one.
    """
    sys.set_int_max_str_digits(0)
    remote = _Remote()
    text = f"{setup}\n{test}"
    names = undefined_names(text) | ({entry_point} if entry_point else set())
    namespace = {name: remote.function(name) for name in names} | {"__name__": "__main__"}
    try:
        exec(compile(text, "test", "exec"), namespace)
        if entry_point and "check" in namespace and "check" not in names:
            namespace["check"](remote.function(entry_point))
    except _NotCarried:
        sys.exit(EXIT_NOT_CARRIED)

"""The settings of a run as its folder tells them: config.json read back as a RunConfig.

What `json_value` wrote: a dataclass is an object whose "kind" names its class. Which classes there may be is
told by the type of the field, so that nothing is imported by its name.
"""

import dataclasses
import json
import types
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from etils import epath

from entropy_rl.config import RunConfig
from entropy_rl.observability.run_record import CONFIG_FILE
from entropy_rl.paths import is_remote


def recorded_config(run: Path) -> RunConfig:
    """The settings of the run in this folder. Settings that are newer than the run have their defaults.

    Raises ValueError where there are none, and where this version has no such setting or class.
    """
    path = run / CONFIG_FILE
    if not path.is_file():
        raise ValueError(
            f"the folder of a run must hold {CONFIG_FILE}, got {run}; give a folder such as runs/NAME"
        )
    return config_of_json(json.loads(path.read_text()), str(path))


def config_of_json(settings: dict, where: str = CONFIG_FILE) -> RunConfig:
    """The RunConfig that `json_value` made this of."""
    return _read(RunConfig, settings, where)


def _read(expected: Any, value: Any, where: str) -> Any:
    """A value of JSON as one of the expected type."""
    origin, arguments = get_origin(expected), get_args(expected)
    if origin in (Union, types.UnionType):
        return _read_union(arguments, value, where)
    if origin in (tuple, list):
        return _read_items(origin, arguments, value, where)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {name: _read(arguments[1], item, f"{where}: {name}") for name, item in value.items()}
    if isinstance(value, dict):
        return _read_object(expected, value, where)
    if isinstance(expected, type) and issubclass(expected, PurePath):
        return Path(value)
    return float(value) if expected is float and isinstance(value, int) else value


def _read_union(arguments: tuple, value: Any, where: str) -> Any:
    if value is None:
        return None
    if isinstance(value, str) and any(isinstance(a, type) and issubclass(a, PurePath) for a in arguments):
        return epath.Path(value) if is_remote(value) else Path(value)
    fitting = [argument for argument in arguments if _fits(argument, value)]
    if not fitting:
        raise ValueError(
            f"{where} must be one of {arguments}, got {value!r}; was it written by this version?"
        )
    return _read(fitting[0], value, where)


def _fits(expected: Any, value: Any) -> bool:
    """Whether a value of JSON can be one of this member of a union."""
    origin = get_origin(expected)
    if origin is Literal:
        return value in get_args(expected)
    if isinstance(value, dict) and "kind" in value:
        return any(cls.__name__ == value["kind"] for cls in _variants(expected))
    forms = {dict: Mapping, list: (tuple, list), bool: bool, int: (int, float), float: float, str: str}
    plain = origin or expected
    return isinstance(plain, type) and issubclass(plain, forms[type(value)])


def _read_items(origin: type, arguments: tuple, value: list, where: str) -> Any:
    each = arguments[:1] * len(value) if len(arguments) == 1 or arguments[1:] == (...,) else arguments
    items = [
        _read(kind, item, f"{where}[{n}]") for n, (kind, item) in enumerate(zip(each, value, strict=True))
    ]
    return origin(items)


def _read_object(expected: Any, value: dict, where: str) -> Any:
    fitting = [cls for cls in _variants(expected) if cls.__name__ == value.get("kind")]
    if not fitting:
        name = getattr(expected, "__name__", expected)
        raise ValueError(
            f"{where}: there must be a {name} of the kind {value.get('kind')!r}; this version knows none; "
            "read the run with the version that made it, or import what defines it"
        )
    cls = fitting[0]
    hints, fields = get_type_hints(cls), {field.name for field in dataclasses.fields(cls)}
    given = {name: item for name, item in value.items() if name != "kind"}
    if unknown := given.keys() - fields:
        raise ValueError(
            f"{where}: {cls.__name__} has no {', '.join(sorted(unknown))}; read the run with the version "
            "that made it"
        )
    return cls(**{name: _read(hints[name], item, f"{where}: {name}") for name, item in given.items()})


def _variants(expected: Any) -> Iterator[type]:
    """The dataclasses that are of this type."""
    if isinstance(expected, type):
        if dataclasses.is_dataclass(expected):
            yield expected
        for cls in expected.__subclasses__():
            yield from _variants(cls)

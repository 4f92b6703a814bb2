"""Writing JSON so that a reader, or a crash, never meets a broken file.

JSON has no NaN and no infinity: both become null. A file is replaced whole, by a rename of a finished
temporary file beside it, so that at every moment it is either the old one or the new one.
"""

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path


def json_number(value: object) -> float | int | None:
    """A Python, NumPy or other scalar as a JSON number; None for None, NaN and the infinities.

    Raises:
        ValueError: the value is no single number.
    """
    if value is None or isinstance(value, bool):
        return None if value is None else int(value)
    item = getattr(value, "item", None)
    number = item() if callable(item) else value
    if isinstance(number, bool):
        return int(number)
    if isinstance(number, int):
        return number
    if not isinstance(number, float):
        raise ValueError(f"a metric must be a single real number, got {value!r}; reduce it first")
    return number if math.isfinite(number) else None


def json_value(value: object) -> object:
    """`value` with every mapping, sequence and leaf made fit for JSON; what JSON lacks becomes its text.

    A dataclass becomes an object whose "kind" is the name of its class, since a variant is a class.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return json_value({"kind": type(value).__name__} | fields)
    if isinstance(value, Mapping):
        return {str(key): json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = [json_value(item) for item in value]
        return sorted(items, key=str) if isinstance(value, set | frozenset) else items
    if value is None or isinstance(value, str | bool):
        return value
    try:
        return json_number(value)
    except (ValueError, TypeError):
        return str(value)


def write_atomically(path: Path, content: bytes) -> None:
    """Replaces `path` by `content`: readers see the old bytes or the new ones, after a power cut as well."""
    temporary = temporary_of(path)
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def temporary_of(path: Path) -> Path:
    """Where `write_atomically` prepares `path`; a kill can leave it behind, the next write takes it over."""
    return path.with_name(f".{path.name}.tmp")


def write_json(path: Path, value: object) -> None:
    """`write_atomically` of a value as indented JSON."""
    text = json.dumps(json_value(value), indent=2, allow_nan=False)
    write_atomically(path, (text + "\n").encode())

"""Rows of JSONL and Parquet files as dicts, each with its line; a row that cannot be read is a RowError."""

import json
from collections.abc import Iterator
from pathlib import PurePath
from types import UnionType
from typing import get_args

import pyarrow
import pyarrow.parquet
from etils import epath

from entropy_rl.paths import AnyPath, reach

_BATCH_ROWS = 1024


class RowError(ValueError):
    """One row is not usable; the message says what must hold and what was got."""


Row = tuple[int, dict | RowError]
"""Number of the line (of the row, in Parquet), from 1, and what stands there."""


def read_rows(path: AnyPath | str, columns: tuple[str, ...] | None) -> Iterator[Row]:
    """Every row of a .jsonl or .parquet file, here or in object storage; of Parquet these columns, or all.

    Raises ValueError when the file as a whole cannot be read.
    """
    readers = {".jsonl": _read_jsonl, ".parquet": _read_parquet}
    suffix = PurePath(path).suffix
    if suffix not in readers:
        raise ValueError(
            f"a prompt file must end in {' or '.join(readers)}; got {path}; convert it, or correct its name"
        )
    reached = reach(path)
    if not reached.is_file():
        raise ValueError(f"a prompt file must exist; {path} does not; check the path")
    return readers[suffix](reached, columns)


def _read_jsonl(path: epath.Path, columns: tuple[str, ...] | None) -> Iterator[Row]:
    with path.open("rb") as file:
        for line, text in enumerate(file, start=1):
            if text.strip():
                yield line, _parse_line(text)


def _parse_line(text: bytes) -> dict | RowError:
    try:
        row = json.loads(text.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return RowError(f"the line must be UTF-8; byte {error.start} is not")
    except (ValueError, RecursionError) as error:
        return RowError(f"the line must be JSON; {error}")
    return row if isinstance(row, dict) else RowError(f"the line must be a JSON object; got {_kind(row)}")


def _read_parquet(path: epath.Path, columns: tuple[str, ...] | None) -> Iterator[Row]:
    try:
        with path.open("rb") as stream, pyarrow.parquet.ParquetFile(stream) as file:
            stored = columns and stored_columns(columns, file.schema_arrow.names, path)
            line = 1
            for batch in file.iter_batches(_BATCH_ROWS, columns=stored):
                yield from enumerate(_batch_rows(batch), start=line)
                line += batch.num_rows
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(
            f"{path} must be a Parquet file; it cannot be read: {error}; write it anew"
        ) from error


def stored_columns(columns: tuple[str, ...], names: list[str], table: AnyPath | str) -> list[str]:
    """The columns of a table that hold `columns`, whose dots reach into them. Raises ValueError without."""
    stored = dict.fromkeys(name if name in names else name.partition(".")[0] for name in columns)
    if not stored.keys() <= set(names):
        raise ValueError(
            f"{table} must have the columns {list(columns)}; it has {names}; "
            "choose the schema that fits, or rename its columns"
        )
    return list(stored)


def _batch_rows(batch: pyarrow.RecordBatch) -> list[dict | RowError]:
    try:
        return batch.to_pylist()
    except UnicodeDecodeError:
        return [_one_row(batch.slice(index, 1)) for index in range(batch.num_rows)]


def _one_row(row: pyarrow.RecordBatch) -> dict | RowError:
    try:
        return row.to_pylist()[0]
    except UnicodeDecodeError as error:
        return RowError(f"text must be UTF-8; byte {error.start} is not")


def require(row: dict, key: str, kind: type | UnionType):
    """The value of a key, which must be there and of a type; dots reach into objects: "outer.inner"."""
    if key not in row and "." in key:
        outer, _, inner = key.partition(".")
        return require(require(row, outer, dict), inner, kind)
    if key not in row:
        raise RowError(f'"{key}" must be there; the keys are {sorted(map(str, row))}')
    value = row[key]
    if not isinstance(value, kind):
        allowed = " or ".join(one.__name__ for one in get_args(kind) or (kind,))
        raise RowError(f'"{key}" must be a {allowed}; got {_kind(value)}')
    return value


def require_text(row: dict, key: str) -> str:
    """The text of a key, which must not be blank and must be writable as UTF-8 without NUL."""
    text = require(row, key, str)
    if not text.strip():
        raise RowError(f'"{key}" must not be empty')
    if "\0" in text:
        raise RowError(f'"{key}" must not contain NUL; it does at character {text.index(chr(0))}')
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RowError(f'"{key}" must be Unicode text; character {error.start} is half a pair') from error
    return text


def _kind(value) -> str:
    return "null" if value is None else type(value).__name__

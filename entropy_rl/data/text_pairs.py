"""Rows {"prompt", "completion"} of a JSONL file: demonstrations to learn from, or texts to score."""

from entropy_rl.data.rows import RowError, read_rows
from entropy_rl.paths import AnyPath


def read_text_pairs(path: AnyPath) -> list[tuple[str, str]]:
    """Every (prompt, completion) of a file, in order; blank lines are passed over.

    Raises ValueError with file and line at the first row that is not such a pair, or when there is none.
    """
    pairs = []
    for line, row in read_rows(path, ("prompt", "completion")):
        if isinstance(row, RowError):
            raise ValueError(f"{path}:{line}: {row}")
        for column in ("prompt", "completion"):
            if not isinstance(row.get(column), str):
                raise ValueError(
                    f'{path}:{line}: "{column}" must be a text, got {row.get(column)!r}; '
                    'a row is {"prompt": "...", "completion": "..."}'
                )
        if not row["prompt"]:
            raise ValueError(f'{path}:{line}: "prompt" must not be empty: it predicts the first token')
        pairs.append((row["prompt"], row["completion"]))
    if not pairs:
        raise ValueError(f"{path} must hold at least one row, got none")
    return pairs

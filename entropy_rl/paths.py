"""Paths of this machine and of object storage alike, by etils.epath: folders, gs://bucket/..., s3://bucket/..."""

import os
import re
from pathlib import Path

from etils import epath

AnyPath = epath.Path | Path
"""Type of a setting that may lie in object storage."""

_COLLAPSED = re.compile(r"(gs|s3):/[^/]")


def is_remote(path: AnyPath | str) -> bool:
    """Whether the path lies in object storage."""
    return "://" in os.fspath(path)


def reach(path: AnyPath | str) -> epath.Path:
    """The path, made ready to read and write; a local one is absolute.

    Raises ValueError when what reaches its storage is not installed, or when pathlib has spoilt its address.
    """
    text = os.fspath(path)
    if _COLLAPSED.match(text):
        raise ValueError(
            f"an address must keep its two slashes, got {text}: pathlib drops one; write epath.Path(...) of "
            "etils in the configuration, or give the address on the command line"
        )
    if not is_remote(text):
        return epath.Path(os.path.abspath(text))
    reached = epath.Path(text)
    try:
        reached.exists()
    except ImportError as error:
        raise ValueError(
            f"{text} needs a package that is not installed ({error}); "
            "pip install gcsfs for gs://, s3fs for s3:// (the extras gcs and s3 of this project)"
        ) from error
    return reached

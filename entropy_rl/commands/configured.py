"""What commands that work on a configuration have in common."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from entropy_rl.config import RunConfig

DEFAULT_CONFIG = Path("configs/tiny_kl_cov.py")


@dataclass(frozen=True, kw_only=True)
class Configured:
    """A command that works on a configuration."""

    config: Path = DEFAULT_CONFIG
    """Python file whose get_config() returns a RunConfig; every field of it can be overridden below."""
    settings: Annotated[RunConfig, tyro.conf.arg(name="")]

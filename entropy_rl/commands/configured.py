"""What commands that work on a configuration have in common."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from entropy_rl.config import RunConfig
from entropy_rl.config_file import load_config

DEFAULT_CONFIG = Path("configs/tiny_kl_cov.py")


@dataclass(frozen=True, kw_only=True)
class Configured:
    """A command that works on a configuration."""

    config: Path = DEFAULT_CONFIG
    """Python file whose get_config() returns a RunConfig; every field of it can be overridden below."""
    topology: str | None = None
    """Slice of TPUs or nodes of GPUs whose settings are taken, of those that the file names in TOPOLOGIES;
    None takes the first."""
    settings: Annotated[RunConfig, tyro.conf.arg(name="")]

    @classmethod
    def load(cls, path: Path, topology: str | None) -> RunConfig:
        """The configuration of a file for a topology."""
        return load_config(path, topology)

"""Reading a configuration file: a Python file whose get_config() returns a whole RunConfig.

A file that was planned for slices names them, the default first, and its get_config takes one of the names:

    TOPOLOGIES = ("v5p:4x4x4", "v6e:8x8")

    def get_config(topology: str = TOPOLOGIES[0]) -> RunConfig: ...

Only how a run is computed may depend on the slice (mesh, layout, waves, what is recomputed), never what.
"""

import importlib.util
from pathlib import Path
from types import ModuleType

from entropy_rl.config import RunConfig


def load_config(path: Path, topology: str | None = None) -> RunConfig:
    """What `get_config()` of the file returns for a slice (None: the file's first, if it names any).

    The file is run as code: use only files you trust. Raises ValueError when it is absent, returns something
    else or does not name that slice.
    """
    module = _module(Path(path))
    topologies = _topologies(module)
    if topology is None:
        config = module.get_config()
    elif topology in topologies:
        config = module.get_config(topology)
    else:
        raise ValueError(
            f"--topology must be a slice that {path} was planned for ({', '.join(topologies) or 'none'}), "
            f"got {topology}; leave it out and set mesh.data, mesh.fsdp and mesh.tensor to what you have"
        )
    if not isinstance(config, RunConfig):
        raise ValueError(f"get_config() of {path} must return a RunConfig, got {type(config).__name__}")
    return config


def topologies_of(path: Path) -> tuple[str, ...]:
    """The slices a configuration file was planned for, the default first; none where it names none."""
    return _topologies(_module(Path(path)))


def _topologies(module: ModuleType) -> tuple[str, ...]:
    return tuple(getattr(module, "TOPOLOGIES", ()))


def _module(path: Path) -> ModuleType:
    return load_module(path, flag="--config", function="get_config")


def load_module(path: Path, *, flag: str, function: str) -> ModuleType:
    """A Python file that a flag names, run; it must define the function."""
    if not path.is_file():
        neighbours = sorted(str(p) for p in path.parent.glob("*.py")) if path.parent.is_dir() else []
        raise ValueError(
            f"{flag} must name a Python file with {function}(); {path} does not exist; "
            f"there are: {', '.join(neighbours) or 'none in that folder'}"
        )
    spec = importlib.util.spec_from_file_location(f"entropy_rl_{function}_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, function):
        raise ValueError(f"{path} must define {function}(); it does not")
    return module

"""Reading a configuration file: a Python file whose get_config() returns a whole RunConfig."""

import importlib.util
from pathlib import Path

from entropy_rl.config import RunConfig


def load_config(path: Path) -> RunConfig:
    """What `get_config()` of the file returns.

    The file is run as code: use only files you trust. Raises ValueError when it is absent or returns
    something else.
    """
    path = Path(path)
    if not path.is_file():
        neighbours = sorted(str(p) for p in path.parent.glob("*.py")) if path.parent.is_dir() else []
        raise ValueError(
            f"--config must name a Python file with get_config(); {path} does not exist; "
            f"there are: {', '.join(neighbours) or 'none in that folder'}"
        )
    spec = importlib.util.spec_from_file_location(f"entropy_rl_config_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "get_config"):
        raise ValueError(f"{path} must define get_config(), which returns a RunConfig; it does not")
    config = module.get_config()
    if not isinstance(config, RunConfig):
        raise ValueError(f"get_config() of {path} must return a RunConfig, got {type(config).__name__}")
    return config

"""The command line: python -m entropy_rl COMMAND, each command a dataclass of its arguments."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tyro

from entropy_rl import commands
from entropy_rl.config import RunConfig
from entropy_rl.config_file import load_config

COMMANDS: dict[str, type] = {
    "train": commands.Train,
    "sft": commands.Sft,
    "generate": commands.Generate,
    "score": commands.Score,
    "evaluate": commands.Evaluate,
    "export": commands.Export,
    "bench": commands.Bench,
}


def main(argv: Sequence[str] | None = None) -> None:
    """Runs one command; errors of the user end with a line on standard error and exit code 2."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help"):
        print(_overview())
        return
    if argv[0] not in COMMANDS:
        sys.exit(f"entropy_rl: there is no command {argv[0]!r}\n\n{_overview()}")
    try:
        parse(argv[0], argv[1:]).run()
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"entropy_rl {argv[0]}: {error}")


def parse(name: str, args: Sequence[str]) -> Any:
    """The command with its arguments. Dotted names override fields of the configuration."""
    command = COMMANDS[name]
    default: Any = tyro.MISSING_NONPROP
    if issubclass(command, commands.Configured):
        default = command(config=_config_path(args), settings=_settings(args))
    return tyro.cli(
        command,
        args=list(args),
        default=default,
        prog=f"python -m entropy_rl {name}",
        description=command.__doc__,
        config=(tyro.conf.AvoidSubcommands, tyro.conf.HelptextFromCommentsOff),
    )


def _config_path(args: Sequence[str]) -> Path:
    """The value of --config, looked up before the rest can be parsed: it decides which fields there are."""
    for position, arg in enumerate(args):
        if arg == "--config" and position + 1 < len(args):
            return Path(args[position + 1])
        if arg.startswith("--config="):
            return Path(arg.removeprefix("--config="))
    return commands.DEFAULT_CONFIG


def _settings(args: Sequence[str]) -> RunConfig:
    return load_config(_config_path(args))


def _overview() -> str:
    lines = ["usage: python -m entropy_rl COMMAND [--help] ...", ""]
    for name, command in COMMANDS.items():
        lines.append(f"  {name:10s}{(command.__doc__ or '').splitlines()[0]}")
    return "\n".join([*lines, "", "python -m entropy_rl COMMAND --help lists every argument of a command."])

"""The command line: python -m entropy_rl COMMAND."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import tyro

COMMANDS = {
    "train": "Train a policy with GRPO, Clip-Cov or KL-Cov.",
    "sft": "Train a policy on demonstrations and write it as a Hugging Face folder.",
    "generate": "Sample completions of prompts, streamed to the terminal or as JSON lines.",
    "grade": "Judge answers without a policy, by the rewards of training.",
    "score": "Print log-probs and entropies of given completions.",
    "data": "Look into a file of prompts: what is read, what is left out, what a policy sees.",
    "sums": "Write short arithmetic in files like GSM8K's, for a small pretrained policy.",
    "plan": "Tell whether a run fits slices of TPUs or nodes of GPUs, how fast it can be and what it costs.",
    "evaluate": "Measure a policy on held-out prompts (accuracy, pass@k), or by a suite (and maj@k).",
    "plot": "Draw a run, or runs over each other, and tell where each began and ended.",
    "fit": "Fit the law of entropy and reward to a run: its ceiling, and what later steps will bring.",
    "diagnose": "Check a run for all that ruins entropy: verdicts, evidence, what to change.",
    "report": "Write one HTML page of a run: curves, verdicts, the law, responses token by token.",
    "watch": "Follow a run in the terminal while it goes.",
    "study": "Compare methods: tune each alike, then measure all on fresh seeds and problems.",
    "export": "Write the policy of a run as a Hugging Face folder, which transformers loads.",
    "bench": "Time the parts of a training step.",
}
"""Each is a module of entropy_rl.commands; only the one that is called is imported, to start quickly."""
TRACEBACK = "ENTROPY_RL_TRACEBACK"
"""Set to 1, this variable of the environment shows errors with their tracebacks."""


def main(argv: Sequence[str] | None = None) -> None:
    """Runs one command; errors of the user end with a line on standard error and exit code 2."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help"):
        print(_overview())
        return
    if argv[0] not in COMMANDS:
        _give_up(f"entropy_rl: there is no command {argv[0]!r}\n\n{_overview()}")
    try:
        parse(argv[0], argv[1:]).run()
    except (ValueError, FileNotFoundError, RuntimeError) as error:
        if os.environ.get(TRACEBACK):
            raise
        _give_up(f"entropy_rl {argv[0]}: {error}\n({TRACEBACK}=1 shows where)")


def _give_up(message: str) -> None:
    print(message, file=sys.stderr)
    sys.exit(2)


def parse(name: str, args: Sequence[str]) -> Any:
    """The command with its arguments. Dotted names override fields of the configuration."""
    command = getattr(import_module(f"entropy_rl.commands.{name}"), name.capitalize())
    if hasattr(command, "form"):  # some commands have several, told apart by their flags
        command = command.form([arg.partition("=")[0] for arg in args])
    default: Any = tyro.MISSING_NONPROP
    if "settings" in command.__dataclass_fields__:
        default = _with_configuration(command, args)
    return tyro.cli(
        command,
        args=list(args),
        default=default,
        prog=f"python -m entropy_rl {name}",
        description=command.__doc__,
        config=(tyro.conf.AvoidSubcommands,),
    )


def _with_configuration(command: type, args: Sequence[str]) -> Any:
    """The command's defaults under the configuration of --config, which decides what fields there are."""
    from entropy_rl.commands.configured import DEFAULT_CONFIG

    path = Path(_value_of("--config", args) or DEFAULT_CONFIG)
    topology = _value_of("--topology", args)
    return command(config=path, topology=topology, settings=command.load(path, topology))


def _value_of(flag: str, args: Sequence[str]) -> str | None:
    """The last value given to a flag, as "--flag value" or "--flag=value"."""
    value = None
    for position, arg in enumerate(args):
        if arg == flag and position + 1 < len(args):
            value = args[position + 1]
        elif arg.startswith(f"{flag}="):
            value = arg.removeprefix(f"{flag}=")
    return value


def _overview() -> str:
    lines = [f"  {name:10s}{meaning}" for name, meaning in COMMANDS.items()]
    return "\n".join(
        [
            "usage: python -m entropy_rl COMMAND [--help] ...",
            "",
            *lines,
            "",
            "python -m entropy_rl COMMAND --help lists every argument of a command.",
        ]
    )

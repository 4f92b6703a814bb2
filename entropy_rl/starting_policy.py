"""The policy a run starts from: random, pretrained, or warm-started once and kept for the next run."""

import hashlib
import json
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import numpy as np

from entropy_rl.config import PolicyConfig, RunConfig
from entropy_rl.data.text_pairs import read_text_pairs
from entropy_rl.models.config import Qwen2Config
from entropy_rl.models.hf import help_saving, load_config
from entropy_rl.models.parameters import logical_axes
from entropy_rl.models.policy import Policy
from entropy_rl.observability.bar import Bar
from entropy_rl.observability.json_files import json_value
from entropy_rl.parallelism import (
    batch_sharding,
    is_main,
    parameter_shardings,
    share,
    wait_for_all,
)
from entropy_rl.paths import reach
from entropy_rl.stored_policy import StoredPolicy, read_policy, save_policy
from entropy_rl.training.warm_start import Demonstrations, warm_start

FORMAT_VERSION = 1
"""Raised when policies kept by older code must not be taken for what the code makes now."""


def starting_policy(config: RunConfig) -> StoredPolicy:
    """What the run starts from, on its mesh; a warm start is made when none of equal settings is kept.

    All processes of a run call it together; the folder of kept policies must be one that all of them see.
    """
    if config.warm_start is None:
        return policy_before_warm_start(config)
    kept = warm_start_folder(config)
    is_kept = share(np.array((kept / "config.json").is_file()))[0]
    if not is_kept:
        make_warm_start(config, kept)
    return load_policy(config, kept)


def load_policy(config: RunConfig, directory: Path) -> StoredPolicy:
    """The policy of a folder, in the precision and on the mesh of `config`."""
    stored = read_policy(
        directory, param_dtype=config.policy.param_dtype, shardings=partial(_shardings, config)
    )
    return replace(stored, policy=config.policy_of(stored.policy.config))


def warm_start_folder(config: RunConfig) -> Path:
    """Where the warm start of these settings is kept: its name is a digest of all that decides it.

    Of what the main process sees, for all: the times of a policy folder's files differ between machines.
    """
    parts = [
        FORMAT_VERSION,
        config.policy,
        config.task,
        replace(config.warm_start, cache_folder=Path()),
        config.seed,
    ]
    digest = hashlib.sha256(json.dumps([json_value(part) for part in parts], sort_keys=True).encode())
    if config.warm_start.demonstrations_file is not None:
        digest.update(reach(config.warm_start.demonstrations_file).read_bytes())
    if config.policy.directory is not None:
        for file in sorted(config.policy.directory.iterdir()):
            status = file.stat()
            digest.update(f"{file.name} {status.st_size} {status.st_mtime_ns}".encode())
    digest_of_main = share(np.frombuffer(digest.digest(), np.uint8))[0].tobytes().hex()
    return config.warm_start.cache_folder / f"warm-start-{digest_of_main[:12]}"


def demonstration_pairs(config: RunConfig) -> list[tuple[str, str]]:
    """(Prompt text, completion text) of all that the warm start of these settings learns from."""
    settings = config.warm_start
    if settings.demonstrations_file is None:
        return config.task.demonstrations(settings.num_demonstrations, config.seed)
    return read_text_pairs(settings.demonstrations_file)


def make_warm_start(config: RunConfig, output: Path) -> None:
    """Trains on demonstrations and writes a Hugging Face folder; all processes take part, one writes."""
    start, settings = policy_before_warm_start(config), config.warm_start
    pairs = demonstration_pairs(config)
    with Bar("warm start", total=settings.num_steps, shown=is_main()) as bar:
        params = warm_start(
            start.policy,
            start.params,
            Demonstrations.encode(pairs, start.tokenizer),
            settings,
            seed=config.seed,
            placement=batch_sharding(config.mesh.build()),
            on_step=lambda step, loss: bar.update(step, f"loss {loss:.3f}"),
        )
    if is_main():
        _write_whole(replace(start, params=params), output)
    else:
        help_saving(start.policy.config, params)
    wait_for_all("the warm start is written")


def _write_whole(stored: StoredPolicy, output: Path) -> None:
    """Writes a Hugging Face folder that is there whole or not at all."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{output.name}.", dir=output.parent) as unfinished:
        whole = Path(unfinished) / "whole"
        save_policy(stored, whole)
        if not output.exists():  # another run may have made the same one meanwhile
            whole.replace(output)


def policy_before_warm_start(config: RunConfig) -> StoredPolicy:
    """The policy that is pretrained, or random, on the run's mesh."""
    if config.policy.directory is not None:
        _check_architecture(config.policy)
        return load_policy(config, config.policy.directory)
    tokenizer = config.task.load_tokenizer(None)
    policy = config.policy_of(config.policy.architecture)
    if tokenizer.vocab_size > policy.config.vocab_size:
        raise ValueError(
            f"policy.architecture.vocab_size must be at least the tokenizer's {tokenizer.vocab_size}, got "
            f"{policy.config.vocab_size}"
        )
    init = partial(policy.init, param_dtype=config.policy.param_dtype)
    # Every device makes its own share, and no other ever exists.
    params = jax.jit(init, out_shardings=_shardings(config, policy.config))(config.key("init"))
    return StoredPolicy(policy=policy, params=params, tokenizer=tokenizer)


def _check_architecture(policy: PolicyConfig) -> None:
    """Raises ValueError when the folder holds another model than the settings announce."""
    if policy.architecture is None:
        return
    # How far the model was trained to look is no size of it: a base and its instruct variant may differ.
    found = replace(load_config(policy.directory), max_positions=policy.architecture.max_positions)
    if found != policy.architecture:
        raise ValueError(
            f"{policy.directory} must hold the model that policy.architecture announces; it holds {found}, "
            f"announced was {policy.architecture}; correct the one or the other"
        )


def _shardings(config: RunConfig, architecture: Qwen2Config) -> dict:
    """Where the parameters lie on the run's mesh."""
    shapes = Policy(architecture).abstract_params()
    return parameter_shardings(config.mesh.build(), logical_axes(architecture), shapes)

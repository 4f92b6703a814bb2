"""The policy a run starts from: random, pretrained, or warm-started once and kept for the next run."""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import jax

from entropy_rl.config import RunConfig
from entropy_rl.data.text_pairs import read_text_pairs
from entropy_rl.data.tokenizers import Tokenizer
from entropy_rl.models.hf import load_pretrained, save_pretrained
from entropy_rl.models.parameters import logical_axes
from entropy_rl.models.policy import Policy
from entropy_rl.observability.bar import Bar
from entropy_rl.observability.json_files import json_value, write_json
from entropy_rl.parallelism import parameter_shardings
from entropy_rl.training.warm_start import Demonstrations, warm_start

FORMAT_VERSION = 1
"""Raised when kept policies of older code must not be taken for the same."""


@dataclass(frozen=True, kw_only=True)
class StartingPolicy:
    """A policy with its parameters on their devices."""

    policy: Policy
    params: dict
    tokenizer: Tokenizer


def load_policy(config: RunConfig, directory: Path, tokenizer: Tokenizer | None = None) -> StartingPolicy:
    """The policy of a Hugging Face folder, in the precision and on the mesh of `config`."""
    tokenizer = tokenizer or config.task.load_tokenizer(directory)
    architecture, params = load_pretrained(directory, config.policy.param_dtype)
    policy = Policy(architecture, config.policy.compute_dtype, config.policy.rematerialize)
    return StartingPolicy(policy=policy, params=_place(config, policy, params), tokenizer=tokenizer)


def starting_policy(config: RunConfig) -> StartingPolicy:
    """What the run starts from; a warm start is made when none of equal settings is kept."""
    if config.warm_start is None:
        return _without_warm_start(config)
    kept = warm_start_folder(config)
    if not (kept / "config.json").is_file():
        make_warm_start(config, kept)
    return load_policy(config, kept)


def warm_start_folder(config: RunConfig) -> Path:
    """Where the warm start of these settings is kept: its name is a digest of all that decides it."""
    parts = (FORMAT_VERSION, config.policy, config.task, config.warm_start, config.seed)
    digest = hashlib.sha256(json.dumps([json_value(part) for part in parts], sort_keys=True).encode())
    return config.warm_start.cache_folder / f"warm-start-{digest.hexdigest()[:12]}"


def make_warm_start(config: RunConfig, output: Path) -> None:
    """Trains on demonstrations and writes a Hugging Face folder, whole or not at all."""
    start, settings = _without_warm_start(config), config.warm_start
    if settings.demonstrations_file is None:
        pairs = config.task.demonstrations(settings.num_demonstrations, config.seed)
    else:
        pairs = read_text_pairs(settings.demonstrations_file)
    demonstrations = Demonstrations.encode(pairs, start.tokenizer)
    with Bar("warm start", total=settings.num_steps) as bar:
        params = warm_start(
            start.policy,
            start.params,
            demonstrations,
            settings,
            seed=config.seed,
            on_step=lambda step, loss: bar.update(step, f"loss {loss:.3f}"),
        )
    unfinished = output.with_name(output.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    save_policy(start.policy, params, start.tokenizer, unfinished, dtype=config.policy.param_dtype)
    unfinished.replace(output)


def save_policy(policy: Policy, params, tokenizer: Tokenizer, directory: Path, *, dtype: str) -> None:
    """Writes a folder that `transformers` loads: weights, config.json and tokenizer."""
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer.save(directory)
    save_pretrained(directory, policy.config, params, dtype=dtype)


def save_skeleton(start: StartingPolicy, directory: Path) -> None:
    """Writes architecture and tokenizer without weights: with a checkpoint's, they are a whole policy."""
    directory.mkdir(parents=True, exist_ok=True)
    start.tokenizer.save(directory)
    dtype = str(jax.tree.leaves(start.params)[0].dtype)
    write_json(directory / "config.json", start.policy.config.to_hf(dtype))


def _without_warm_start(config: RunConfig) -> StartingPolicy:
    if config.policy.directory is not None:
        return load_policy(config, config.policy.directory)
    tokenizer = config.task.load_tokenizer(None)
    policy = Policy(config.policy.architecture, config.policy.compute_dtype, config.policy.rematerialize)
    if tokenizer.vocab_size > policy.config.vocab_size:
        raise ValueError(
            f"policy.architecture.vocab_size must be at least the tokenizer's {tokenizer.vocab_size}, got "
            f"{policy.config.vocab_size}"
        )
    params = policy.init(config.key("init"), config.policy.param_dtype)
    return StartingPolicy(policy=policy, params=_place(config, policy, params), tokenizer=tokenizer)


def _place(config: RunConfig, policy: Policy, params):
    shardings = parameter_shardings(config.mesh.build(), logical_axes(policy.config), params)
    return jax.device_put(params, shardings)

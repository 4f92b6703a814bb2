"""Policies in folders: Hugging Face's, and those of runs, whose weights are in a checkpoint."""

from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp

from entropy_rl.data.tokenizers import Tokenizer, load_tokenizer
from entropy_rl.models.hf import load_config, load_pretrained, save_pretrained
from entropy_rl.models.policy import Policy
from entropy_rl.observability.json_files import write_json
from entropy_rl.training.checkpoint import restore_params

SKELETON = "policy"
"""Folder of a run with architecture and tokenizer; with a checkpoint's parameters it is a whole policy."""


@dataclass(frozen=True, kw_only=True)
class StoredPolicy:
    """A policy, its parameters and its tokenizer."""

    policy: Policy
    params: dict
    tokenizer: Tokenizer


def read_policy(directory: Path, *, step: int | None = None, param_dtype: str | None = None) -> StoredPolicy:
    """Reads a Hugging Face folder, or the checkpoint of `step` (None: the newest) from the folder of a run.

    Parameters are host arrays in `param_dtype`, or as they were stored; activations are in the same dtype.
    Raises ValueError when the folder is neither.
    """
    directory = Path(directory)
    of_run = (directory / SKELETON / "config.json").is_file()
    if of_run:
        tokenizer = load_tokenizer(directory / SKELETON)
        architecture = load_config(directory / SKELETON)
        params = restore_params(directory / "checkpoints", step)
        params = params if param_dtype is None else jax.tree.map(lambda x: x.astype(param_dtype), params)
    else:
        if step is not None:
            raise ValueError(f"only the folder of a run has steps; {directory} is none")
        architecture, params = load_pretrained(directory, param_dtype)
        tokenizer = load_tokenizer(directory)
    compute_dtype = str(jax.tree.leaves(params)[0].dtype)
    return StoredPolicy(policy=Policy(architecture, compute_dtype), params=params, tokenizer=tokenizer)


def save_policy(policy: Policy, params, tokenizer: Tokenizer, directory: Path, *, dtype: str) -> None:
    """Writes a folder that `transformers` loads: weights, config.json and tokenizer."""
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer.save(directory)
    save_pretrained(directory, policy.config, params, dtype=dtype, tokenizer_dir=directory)


def save_skeleton(stored: StoredPolicy, run_folder: Path) -> None:
    """Writes what `read_policy` needs beside a run's checkpoints."""
    directory = run_folder / SKELETON
    directory.mkdir(parents=True, exist_ok=True)
    stored.tokenizer.save(directory)
    dtype = jnp.dtype(jax.tree.leaves(stored.params)[0].dtype).name
    write_json(directory / "config.json", stored.policy.config.to_hf(dtype))

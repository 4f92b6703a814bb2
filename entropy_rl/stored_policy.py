"""Policies in folders: Hugging Face's, and those of runs, whose weights are in a checkpoint."""

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
from etils import epath

from entropy_rl.data.tokenizers import Tokenizer, load_tokenizer
from entropy_rl.models.config import Qwen2Config
from entropy_rl.models.hf import load_config, load_pretrained, save_pretrained
from entropy_rl.models.policy import Policy
from entropy_rl.observability.json_files import write_json
from entropy_rl.observability.run_record import CONFIG_FILE
from entropy_rl.paths import AnyPath
from entropy_rl.training.checkpoint import Checkpoints

SKELETON = "policy"
"""Folder of a run with architecture and tokenizer; with a checkpoint's parameters it is a whole policy."""


@dataclass(frozen=True, kw_only=True)
class StoredPolicy:
    """A policy, its parameters and its tokenizer."""

    policy: Policy
    params: dict
    tokenizer: Tokenizer


Shardings = Callable[[Qwen2Config], dict]
"""From an architecture to where its parameters lie: a tree of shardings."""


def read_policy(
    directory: Path,
    *,
    step: int | None = None,
    param_dtype: str | None = None,
    shardings: Shardings | None = None,
) -> StoredPolicy:
    """Reads a Hugging Face folder, or the checkpoint of `step` (None: the newest) from the folder of a run.

    Parameters are in `param_dtype`, or as they were stored; activations are in the same dtype. With
    `shardings` each shard goes straight to its devices, and a process reads only its own; without they are
    host arrays. Its kernels are plain XLA: `entropy_rl.kernel_choice` knows better ones for a device.
    Raises ValueError when the folder is neither.
    """
    directory = Path(directory)
    if (directory / SKELETON / "config.json").is_file():
        tokenizer = load_tokenizer(directory / SKELETON)
        architecture = load_config(directory / SKELETON)
        stored_dtype = json.loads((directory / SKELETON / "config.json").read_text())["torch_dtype"]
        like = Policy(architecture).abstract_params(param_dtype or stored_dtype)
        if shardings is not None:
            like = jax.tree.map(
                lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
                like,
                shardings(architecture),
            )
        with closing(Checkpoints(_checkpoints_of(directory))) as checkpoints:
            params = checkpoints.restore_params(like, step)
    else:
        if step is not None:
            raise ValueError(f"only the folder of a run has steps; {directory} is none")
        architecture, params = load_pretrained(directory, param_dtype, shardings)
        tokenizer = load_tokenizer(directory)
    return StoredPolicy(policy=Policy(architecture, _dtype(params)), params=params, tokenizer=tokenizer)


def _checkpoints_of(run: Path) -> AnyPath:
    """Where the run keeps its checkpoints: in its folder, unless its settings name another."""
    settings = run / CONFIG_FILE
    elsewhere = json.loads(settings.read_text()).get("checkpoint_folder") if settings.is_file() else None
    return run / "checkpoints" if elsewhere is None else epath.Path(elsewhere) / run.name / "checkpoints"


def save_policy(stored: StoredPolicy, directory: Path, *, dtype: str | None = None) -> None:
    """Writes a folder that `transformers` loads: weights, config.json, tokenizer and its stop ids.

    `dtype` None keeps that of the parameters. Raises ValueError when the folder exists and is not empty.
    """
    if directory.is_dir() and any(directory.iterdir()):
        raise ValueError(f"a policy is written to a new or empty folder, got {directory}; choose another")
    _save_tokenizer(stored.tokenizer, directory)
    save_pretrained(directory, stored.policy.config, stored.params, dtype=dtype or _dtype(stored.params))


def save_skeleton(stored: StoredPolicy, run_folder: Path) -> None:
    """Writes what `read_policy` needs beside a run's checkpoints."""
    directory = run_folder / SKELETON
    _save_tokenizer(stored.tokenizer, directory)
    write_json(directory / "config.json", stored.policy.config.to_hf(_dtype(stored.params)))


def _save_tokenizer(tokenizer: Tokenizer, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer.save(directory)
    ids = {"eos_token_id": list(tokenizer.stop_ids), "pad_token_id": tokenizer.pad_id}
    write_json(directory / "generation_config.json", ids)


def _dtype(params) -> str:
    return jnp.dtype(jax.tree.leaves(params)[0].dtype).name

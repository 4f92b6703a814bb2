"""Hugging Face directories: config.json and safetensors, in one file or in shards with an index.

Tensors are streamed one at a time, so that the peak of memory is one copy of what is read and one layer's
tensor (loading) or one shard (saving). The rows of the embedding that only pad the vocabulary are kept.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from safetensors import safe_open
from safetensors.numpy import save_file

from entropy_rl.models.config import Qwen2Config
from entropy_rl.models.parameters import Parameter, leaf, parameters, tree
from entropy_rl.parallelism import gathered

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "generation_config.json",
)
_TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")


def load_config(directory: str | Path) -> Qwen2Config:
    """Reads config.json. Raises ValueError when it is absent or describes another architecture."""
    return Qwen2Config.from_hf(_read_json(Path(directory) / "config.json"))


def load_pretrained(
    directory: str | Path,
    param_dtype: str | None = None,
    shardings: Callable[[Qwen2Config], dict[str, Any]] | None = None,
) -> tuple[Qwen2Config, dict[str, Any]]:
    """Reads a model: as host arrays, or with `shardings`, from the configuration to a tree of them, as global
    arrays, of which each process reads only what its devices hold.

    `param_dtype` None keeps the dtype of the files. Raises ValueError that lists missing and unexpected
    tensors, or names the tensor whose shape is not that of config.json.
    """
    directory = Path(directory)
    config = load_config(directory)
    placement = None if shardings is None else shardings(config)
    with ExitStack() as stack:
        sources = _open(directory, stack)
        _check_names(directory, config, set(sources))
        leaves = {}
        for row in parameters(config):
            _check_shape(directory, config, row, sources)
            part = lru_cache(partial(_part, config, row, sources, param_dtype))  # read once for all replicas
            shape = row.shape(config)
            if placement is None:
                leaves[row.path] = part(*((0, size) for size in shape))
            else:
                leaves[row.path] = jax.make_array_from_callback(
                    shape, leaf(placement, row.path), partial(_indexed, part, shape)
                )
    return config, tree(leaves)


def _indexed(part: Callable[..., np.ndarray], shape: tuple[int, ...], index: tuple[slice, ...]) -> np.ndarray:
    return part(*(cut.indices(size)[:2] for cut, size in zip(index, shape, strict=True)))


def _part(
    config: Qwen2Config, row: Parameter, sources: dict[str, Any], dtype: str | None, *bounds: tuple[int, int]
) -> np.ndarray:
    """What lies within the (start, stop) of each axis of a parameter; nothing else is read."""
    by_axis = dict(zip(row.axes, bounds, strict=True))
    names = row.hf_names(config)[slice(*by_axis.get("layers", (0, 1)))]
    part_layers = None
    for layer, name in enumerate(names):
        tensor = sources[name].get_slice(name)[row.hf_cut(config, by_axis)]
        if part_layers is None:
            layer_shape = tuple(stop - start for start, stop in bounds[row.stacked :])
            part_layers = np.empty((len(names), *layer_shape), jnp.dtype(dtype or tensor.dtype))
        part_layers[layer] = row.from_hf(tensor, config, by_axis)
    return part_layers if row.stacked else part_layers[0]


def _check_shape(directory: Path, config: Qwen2Config, row: Parameter, sources: dict[str, Any]) -> None:
    expected = row.hf_shape(config)
    for name in row.hf_names(config):
        if (found := tuple(sources[name].get_slice(name).get_shape())) != expected:
            raise ValueError(f"{directory}: {name} must have shape {expected} by config.json; got {found}")


def save_pretrained(
    directory: str | Path,
    config: Qwen2Config,
    params: dict[str, Any],
    *,
    dtype: str = "bfloat16",
    max_shard_bytes: int = 4 << 30,
    tokenizer_dir: str | Path | None = None,
) -> None:
    """Writes a directory that `transformers.AutoModelForCausalLM` loads, config.json last.

    Where devices of several processes hold the parameters, one process calls it and all others `help_saving`.
    Weights found there from an earlier save are replaced. With `tokenizer_dir` the tokenizer's files and the
    ids of its special tokens come along.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    for stale in (directory / "config.json", directory / INDEX, *directory.glob("model*.safetensors")):
        stale.unlink(missing_ok=True)
    shards = _plan(config, jnp.dtype(dtype).itemsize, max_shard_bytes)
    names = [SINGLE] if len(shards) == 1 else _shard_names(len(shards))
    for name, shard in zip(names, shards, strict=True):
        tensors = {tensor: _hf_tensor(params, config, row, layer, dtype) for tensor, row, layer in shard}
        save_file(tensors, directory / name, metadata={"format": "pt"})
    if len(shards) > 1:
        weight_map = {tensor: name for name, shard in zip(names, shards, strict=True) for tensor, *_ in shard}
        total = sum(leaf.size for leaf in jax.tree.leaves(params)) * jnp.dtype(dtype).itemsize
        _write_json(directory / INDEX, {"metadata": {"total_size": total}, "weight_map": weight_map})
    extra = {} if tokenizer_dir is None else _copy_tokenizer(Path(tokenizer_dir), directory)
    _write_json(directory / "config.json", config.to_hf(dtype) | extra)


def help_saving(config: Qwen2Config, params: dict[str, Any]) -> None:
    """Takes part in another process's `save_pretrained` of these global arrays, and keeps nothing of them."""
    for _, row, layer in _tensors(config):
        jax.block_until_ready(_tensor(params, row, layer))  # or the devices would hold many


def _open(directory: Path, stack: ExitStack) -> dict[str, Any]:
    """The open file of every tensor name."""
    if (directory / INDEX).exists():
        files = sorted(set(_read_json(directory / INDEX)["weight_map"].values()))
    else:
        files = [SINGLE]
    sources = {}
    for file in files:
        if Path(file).name != file:
            raise ValueError(f"{directory / INDEX} must name files of its own folder, got {file!r}")
        if not (directory / file).is_file():
            raise ValueError(f"{directory} must hold {file}; it is absent: is the download complete?")
        handle = stack.enter_context(safe_open(directory / file, framework="np"))
        sources |= dict.fromkeys(handle.keys(), handle)
    return sources


def _check_names(directory: Path, config: Qwen2Config, found: set[str]) -> None:
    expected = {name for row in parameters(config) for name in row.hf_names(config)}
    # Some exporters write a tied head a second time; transformers ignores it too.
    unexpected = found - expected - ({"lm_head.weight"} if config.tie_embeddings else set())
    wrong = {"missing": expected - found, "unexpected": unexpected}
    if any(wrong.values()):
        report = "; ".join(f"{kind}: {_some(names)}" for kind, names in wrong.items())
        raise ValueError(f"{directory}: tensors must be those config.json asks for; {report}")


def _some(names: set[str], limit: int = 8) -> str:
    shown = ", ".join(sorted(names)[:limit]) or "none"
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def _tensors(config: Qwen2Config) -> Iterator[tuple[str, Any, int]]:
    for row in parameters(config):
        for layer, name in enumerate(row.hf_names(config)):
            yield name, row, layer


def _plan(config: Qwen2Config, item_bytes: int, max_shard_bytes: int) -> list[list[tuple[str, Any, int]]]:
    """Tensors in order, cut into shards; a tensor above the limit has a shard of its own."""
    shards, filled = [[]], 0
    for name, row, layer in _tensors(config):
        size = int(np.prod(row.hf_shape(config))) * item_bytes
        if shards[-1] and filled + size > max_shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append((name, row, layer))
        filled += size
    return shards


def _shard_names(count: int) -> list[str]:
    return [f"model-{i:05d}-of-{count:05d}.safetensors" for i in range(1, count + 1)]


def _hf_tensor(params, config, row, layer, dtype) -> np.ndarray:
    array = np.asarray(_tensor(params, row, layer)).astype(jnp.dtype(dtype))
    return np.ascontiguousarray(row.to_hf(array, config))


def _tensor(params, row, layer):
    """One tensor, gathered alone where devices share it."""
    array = leaf(params, row.path)
    if isinstance(array, jax.Array) and isinstance(array.sharding, NamedSharding):
        return gathered(array, layer if row.stacked else None)
    return array[layer] if row.stacked else array


def _copy_tokenizer(source: Path, directory: Path) -> dict[str, Any]:
    for name in _TOKENIZER_FILES:
        if (source / name).is_file() and source.resolve() != directory.resolve():
            shutil.copyfile(source / name, directory / name)
    config = _read_json(source / "config.json") if (source / "config.json").is_file() else {}
    return {key: config[key] for key in _TOKEN_IDS if key in config}


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"{path.parent} must be a Hugging Face directory; it has no {path.name}")
    return json.loads(path.read_text())


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")

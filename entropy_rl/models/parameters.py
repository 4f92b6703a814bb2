"""Every parameter, declared once. Shapes, sharding, initial values, counts and file names derive from TABLE.

Linear kernels are stored [inputs, outputs...] with heads as axes of their own, and the parameters of all
layers are stacked on a leading axis. Hugging Face stores [outputs, inputs], heads flattened, one tensor a
layer. The columns are: our path, our axes, their name, their layout written in our axes ("(heads head_dim)
embed" is a matrix whose rows are heads x head_dim), and the initialiser.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from entropy_rl.models.config import Qwen2Config

NORMAL = jax.nn.initializers.normal(0.02)
ONES = jax.nn.initializers.ones
ZEROS = jax.nn.initializers.zeros


@dataclass(frozen=True)
class Parameter:
    """One row of the table."""

    path: str
    """Where it lies in the tree of parameters, keys joined by dots."""
    axes: tuple[str, ...]
    """Logical axes in our layout; sharding rules speak of these names."""
    hf_name: str
    """Tensor name in Hugging Face's files; {layer} stands for the layer's number."""
    hf_axes: str
    """Logical axes in their layout, without layers."""
    init: jax.nn.initializers.Initializer
    """Initial values of a model trained from scratch."""

    @property
    def stacked(self) -> bool:
        """Whether it is one of many equal layers."""
        return self.axes[0] == "layers"

    def shape(self, config: Qwen2Config) -> tuple[int, ...]:
        """Shape in our tree, the axis of layers included."""
        sizes = axis_sizes(config)
        return tuple(sizes[axis] for axis in self.axes)

    def layer_shape(self, config: Qwen2Config) -> tuple[int, ...]:
        """Shape of one layer's share."""
        return self.shape(config)[self.stacked :]

    def hf_shape(self, config: Qwen2Config) -> tuple[int, ...]:
        """Shape of one tensor in Hugging Face's files."""
        sizes = axis_sizes(config)
        return tuple(math.prod(sizes[axis] for axis in group.split()) for group in self._hf_groups())

    def hf_names(self, config: Qwen2Config) -> list[str]:
        """Its tensor names in Hugging Face's files: one a layer, or just one."""
        return [self.hf_name.format(layer=i) for i in range(config.num_layers if self.stacked else 1)]

    def hf_cut(self, config: Qwen2Config, bounds: Mapping[str, tuple[int, int]]) -> tuple[slice, ...]:
        """Where the part within the (start, stop) of each logical axis lies in one of their tensors.

        Of axes that they flatten into one, only the first may be cut.
        """
        sizes, cut = axis_sizes(config), []
        for group in self._hf_groups():
            first, *rest = group.split()
            assert all(bounds[axis] == (0, sizes[axis]) for axis in rest), (
                f"{self.path}: {rest} must be whole"
            )
            inner = math.prod(sizes[axis] for axis in rest)
            cut.append(slice(bounds[first][0] * inner, bounds[first][1] * inner))
        return tuple(cut)

    def from_hf(
        self, tensor: np.ndarray, config: Qwen2Config, bounds: Mapping[str, tuple[int, int]] | None = None
    ) -> np.ndarray:
        """One of their tensors, or its `hf_cut` by the same bounds, in our layout; a view where possible."""
        sizes = axis_sizes(config) | {axis: stop - start for axis, (start, stop) in (bounds or {}).items()}
        theirs, ours = self._flat_hf_axes(), self.axes[self.stacked :]
        tensor = tensor.reshape([sizes[axis] for axis in theirs])
        return tensor.transpose([theirs.index(axis) for axis in ours])

    def to_hf(self, array: np.ndarray, config: Qwen2Config) -> np.ndarray:
        """One layer of ours in their layout."""
        theirs, ours = self._flat_hf_axes(), self.axes[self.stacked :]
        return array.transpose([ours.index(axis) for axis in theirs]).reshape(self.hf_shape(config))

    def _hf_groups(self) -> list[str]:
        """The logical axes that make up each axis of theirs."""
        return ["".join(group) for group in re.findall(r"\(([^)]*)\)|(\w+)", self.hf_axes)]

    def _flat_hf_axes(self) -> list[str]:
        return re.findall(r"\w+", self.hf_axes)


# fmt: off
_LAYER = (
    ("input_norm", "embed",                   "input_layernorm.weight",  "embed",                     ONES),
    ("query",      "embed heads head_dim",    "self_attn.q_proj.weight", "(heads head_dim) embed",    NORMAL),
    ("query_bias", "heads head_dim",          "self_attn.q_proj.bias",   "(heads head_dim)",          ZEROS),
    ("key",        "embed kv_heads head_dim", "self_attn.k_proj.weight", "(kv_heads head_dim) embed", NORMAL),
    ("key_bias",   "kv_heads head_dim",       "self_attn.k_proj.bias",   "(kv_heads head_dim)",       ZEROS),
    ("value",      "embed kv_heads head_dim", "self_attn.v_proj.weight", "(kv_heads head_dim) embed", NORMAL),
    ("value_bias", "kv_heads head_dim",       "self_attn.v_proj.bias",   "(kv_heads head_dim)",       ZEROS),
    ("query_norm", "head_dim",                "self_attn.q_norm.weight", "head_dim",                  ONES),
    ("key_norm",   "head_dim",                "self_attn.k_norm.weight", "head_dim",                  ONES),
    ("output",     "heads head_dim embed",    "self_attn.o_proj.weight", "embed (heads head_dim)",    NORMAL),
    ("mlp_norm",   "embed",                   "post_attention_layernorm.weight", "embed",             ONES),
    ("gate",       "embed mlp",               "mlp.gate_proj.weight",    "mlp embed",                 NORMAL),
    ("up",         "embed mlp",               "mlp.up_proj.weight",      "mlp embed",                 NORMAL),
    ("down",       "mlp embed",               "mlp.down_proj.weight",    "embed mlp",                 NORMAL),
)
_OUTER = (
    ("embedding",  "vocab embed",             "model.embed_tokens.weight", "vocab embed",             NORMAL),
    ("final_norm", "embed",                   "model.norm.weight",       "embed",                     ONES),
    ("head",       "vocab embed",             "lm_head.weight",          "vocab embed",               NORMAL),
)
# fmt: on

TABLE: dict[str, Parameter] = {
    row.path: row
    for row in (
        *(Parameter(path, tuple(axes.split()), *rest) for path, axes, *rest in _OUTER),
        *(
            Parameter(f"layers.{path}", ("layers", *axes.split()), f"model.layers.{{layer}}.{name}", *rest)
            for path, axes, name, *rest in _LAYER
        ),
    )
}
"""Every parameter by its path; no model has all of them."""

_BIASES = ("layers.query_bias", "layers.key_bias", "layers.value_bias")
_QK_NORMS = ("layers.query_norm", "layers.key_norm")


def axis_sizes(config: Qwen2Config) -> dict[str, int]:
    """Size of every logical axis."""
    return {
        "layers": config.num_layers,
        "embed": config.hidden_size,
        "heads": config.num_heads,
        "kv_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "mlp": config.intermediate_size,
        "vocab": config.vocab_size,
    }


def parameters(config: Qwen2Config) -> list[Parameter]:
    """The rows this model has: a head only when untied; either biases or query and key norms."""
    absent = set(_BIASES if config.qk_norm else _QK_NORMS) | ({"head"} if config.tie_embeddings else set())
    return [row for path, row in TABLE.items() if path not in absent]


def tree(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """The nested dictionary whose leaves are given by dotted path."""
    root: dict[str, Any] = {}
    for path, leaf in leaves.items():
        *folders, name = path.split(".")
        node = root
        for folder in folders:
            node = node.setdefault(folder, {})
        node[name] = leaf
    return root


def leaf(params: dict[str, Any], path: str) -> Any:
    """The leaf of a nested dictionary at a dotted path."""
    for key in path.split("."):
        params = params[key]
    return params


def logical_axes(config: Qwen2Config) -> dict[str, Any]:
    """The tree of parameters with the names of each one's axes as leaves."""
    return tree({row.path: row.axes for row in parameters(config)})


def count(config: Qwen2Config) -> int:
    """Number of parameters."""
    return sum(math.prod(row.shape(config)) for row in parameters(config))

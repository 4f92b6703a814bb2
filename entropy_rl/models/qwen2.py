"""Qwen2 in Flax NNX: grouped-query attention with q/k/v biases, rotary embedding, RMSNorm, gated MLP.

With `Qwen2Config.qk_norm` it is dense Qwen3: queries and keys are normalised, and there are no biases.

The layers are created stacked and run by `lax.scan`, so that one layer is traced and compiled whatever
their number. Parameters keep their own dtype and are cast where they are used; norms, rotary embedding and
softmax are computed in f32.
"""

from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, Int32

from entropy_rl.models.attention import attend, by_head, rope_angles, rotate
from entropy_rl.models.cache import Cache, Prefix
from entropy_rl.models.config import Qwen2Config
from entropy_rl.models.embedding import embed, residual_axes
from entropy_rl.models.linear import Kernel, linear
from entropy_rl.models.parameters import TABLE, parameters
from entropy_rl.models.rematerialization import Rematerialize, layer_input, rematerialized
from entropy_rl.models.training_attention import TrainingAttention
from entropy_rl.parallelism import SAMPLING_RULES, TRAINING_RULES, Rules, constrain
from pallas_kernels.sharding import Shards


def _declare(config: Qwen2Config, rngs: nnx.Rngs, dtype, path: str) -> nnx.Param | None:
    """The parameter of that row of the table; None when this model has none."""
    row = TABLE[path]
    if row not in parameters(config):
        return None
    return nnx.Param(row.init(rngs.params(), row.layer_shape(config), dtype))


def rms_norm(
    x: Float[Array, "*batch D"], scale_D: Float[Array, " D"], eps: float
) -> Float[Array, "*batch D"]:
    """Root-mean-square normalisation of the last axis (arXiv 1910.07467), in f32."""
    wide = x.astype(jnp.float32)
    normal = wide * jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + eps)
    scale = scale_D.astype(jnp.float32).reshape((1,) * (x.ndim - 1) + (-1,))
    return (normal * scale).astype(x.dtype)


class Layer(nnx.Module):
    """One decoder layer, in the two halves between which attention takes place."""

    def __init__(self, config: Qwen2Config, rngs: nnx.Rngs, dtype, mesh: Mesh | None):
        param = partial(_declare, config, rngs, dtype)
        self.eps = config.rms_norm_eps
        self.mesh = mesh
        self.input_norm = param("layers.input_norm")
        self.query = param("layers.query")
        self.query_bias = param("layers.query_bias")
        self.key = param("layers.key")
        self.key_bias = param("layers.key_bias")
        self.value = param("layers.value")
        self.value_bias = param("layers.value_bias")
        self.query_norm = param("layers.query_norm")
        self.key_norm = param("layers.key_norm")
        self.output = param("layers.output")
        self.mlp_norm = param("layers.mlp_norm")
        self.gate = param("layers.gate")
        self.up = param("layers.up")
        self.down = param("layers.down")

    def project(self, x_BTD: Float[Array, "B T D"], rope: tuple[Array, Array]) -> tuple[Array, Array, Array]:
        """Queries [B, T, N, H], keys and values [B, T, K, H]; queries and keys normalised and rotated."""
        x_BTD = rms_norm(x_BTD, self.input_norm[...], self.eps)
        q_BTNH = self._linear(x_BTD, "query", self.query_bias)
        k_BTKH = self._linear(x_BTD, "key", self.key_bias)
        v_BTKH = self._linear(x_BTD, "value", self.value_bias)
        if self.query_norm is not None:
            q_BTNH = rms_norm(q_BTNH, self.query_norm[...], self.eps)
            k_BTKH = rms_norm(k_BTKH, self.key_norm[...], self.eps)
        return rotate(q_BTNH, rope), rotate(k_BTKH, rope), v_BTKH

    def finish(
        self, x_BTD: Float[Array, "B T D"], mixed_BTNH: Float[Array, "B T N H"]
    ) -> Float[Array, "B T D"]:
        """Adds the output of attention and of the MLP to the residual stream."""
        x_BTD = x_BTD + self._linear(mixed_BTNH, "output", num_inputs=2)
        y_BTD = rms_norm(x_BTD, self.mlp_norm[...], self.eps)
        gate_BTF = self._linear(y_BTD, "gate")
        up_BTF = self._linear(y_BTD, "up")
        return x_BTD + self._linear(jax.nn.silu(gate_BTF) * up_BTF, "down")

    def _linear(self, x, name: str, bias: nnx.Param | None = None, *, num_inputs: int = 1) -> Array:
        form = Kernel(axes=TABLE[f"layers.{name}"].axes[1:], num_inputs=num_inputs, mesh=self.mesh)
        return linear(x, getattr(self, name)[...], None if bias is None else bias[...], form)


class Qwen2(nnx.Module):
    """Token ids to hidden states. The caller applies the head, to the positions that matter."""

    def __init__(
        self,
        config: Qwen2Config,
        *,
        rngs: nnx.Rngs,
        param_dtype,
        compute_dtype: str,
        rematerialize: Rematerialize,
        attention: TrainingAttention,
        shards: Shards | None = None,
    ):
        param = partial(_declare, config, rngs, param_dtype)
        self.config = config
        self.compute_dtype = compute_dtype
        self.rematerialize = rematerialize
        self.attention = attention
        self.shards = shards
        self.mesh = None if shards is None else shards.mesh
        self.embedding = param("embedding")

        @nnx.split_rngs(splits=config.num_layers)
        @nnx.vmap
        def stack(rngs):
            return Layer(config, rngs, param_dtype, self.mesh)

        self.layers = stack(rngs)
        self.final_norm = param("final_norm")
        self.head = param("head")

    def __call__(
        self,
        tokens_BT: Int[Array, "B T"],
        positions_BT: Int[Array, "B T"],
        segment_BT: Int[Array, "B T"] | None = None,
        prefix: Prefix | None = None,
        *,
        keep_kv: bool = False,
        rules: Rules = TRAINING_RULES,
    ) -> tuple[Float[Array, "B T D"], tuple[Array, Array] | None]:
        """Hidden states after the final norm and, with `keep_kv`, a prompt's keys and values [L, P, K, T, H].

        Attention is causal within each segment of the T tokens (0 is padding; None: one segment a row), and
        full over the prefix, of which row b sees prompt b // G. `rules` tell where the embedding lies.
        """
        num_prompts = tokens_BT.shape[0] if prefix is None else prefix.mask_PS.shape[0]
        attention = self.attention.bind(
            segment_BT, tokens_BT.shape, None if prefix is None else prefix.mask_PS, self.shards
        )
        rope = self._rope(positions_BT)
        graph, layers = nnx.split(self.layers)

        def body(x_BTD, layer_and_prefix):
            x_BTD = layer_input(self._residual(x_BTD))
            params, shared = layer_and_prefix
            layer = nnx.merge(graph, params)
            q, k, v = layer.project(x_BTD, rope)
            k, v = by_head(k, num_prompts), by_head(v, num_prompts)
            mixed = attention(q, k, v, shared)
            return layer.finish(x_BTD, mixed), (k[:, :, 0], v[:, :, 0]) if keep_kv else None

        body = rematerialized(body, self.rematerialize)
        shared = None if prefix is None else (prefix.k_LPKSH, prefix.v_LPKSH)
        x_BTD, kv = jax.lax.scan(body, self._embed(tokens_BT, rules), (layers, shared))
        return self._final(x_BTD), kv

    def decode(
        self,
        token_B: Int[Array, " B"],
        position_B: Int[Array, " B"],
        prefix: Prefix,
        cache: Cache,
        index: Int[Array, ""] | int,
        past: tuple[Cache, ...] = (),
    ) -> tuple[Float[Array, "B D"], Cache]:
        """One more token of every row: its hidden state, and the cache with it in slot `index`.

        The token sees its prompt, all slots of `past`, and the slots of `cache` up to `index`.
        """
        rope = self._rope(position_B[:, None])
        slots = cache.k_LPKGCH.shape[4]
        mask_11C = (jnp.arange(slots, dtype=jnp.int32) <= jnp.asarray(index, jnp.int32))[None, None]
        graph, layers = nnx.split(self.layers)
        num_prompts = prefix.mask_PS.shape[0]

        def body(carry, of_layer):
            x_B1D, keys, values = carry
            number, params, shared, earlier = of_layer
            layer = nnx.merge(graph, params)
            q, k, v = layer.project(self._in_rows(x_B1D), rope)
            k, v = (by_head(x, num_prompts)[None].astype(keys.dtype) for x in (k, v))
            start = (number, 0, 0, 0, index, 0)
            keys = jax.lax.dynamic_update_slice(keys, k, start)
            values = jax.lax.dynamic_update_slice(values, v, start)
            mixed = attend(q, keys[number], values[number], mask_11C, (*shared, prefix.mask_PS), earlier)
            return (layer.finish(x_B1D, mixed), keys, values), None

        numbers = jnp.arange(self.config.num_layers, dtype=jnp.int32)
        # The cache is carried, not scanned over: the loop then writes one slot in place, not a layer's copy.
        start = (self._embed(token_B[:, None], SAMPLING_RULES), cache.k_LPKGCH, cache.v_LPKGCH)
        earlier = tuple((segment.k_LPKGCH, segment.v_LPKGCH) for segment in past)
        xs = (numbers, layers, (prefix.k_LPKSH, prefix.v_LPKSH), earlier)
        (x_B1D, keys, values), _ = jax.lax.scan(body, start, xs)
        return self._final(x_B1D)[:, 0], Cache(k_LPKGCH=keys, v_LPKGCH=values)

    def _in_rows(self, x_B1D: Float[Array, "B 1 D"]) -> Float[Array, "B 1 D"]:
        """Hidden states of tokens being generated, cut by rows and by nothing else."""
        return constrain(x_B1D, ("batch", None, None), self.mesh)

    def _residual(self, x_BTD: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        """What passes from layer to layer, and is kept for the backward pass: cut over the whole mesh."""
        return constrain(x_BTD, residual_axes(x_BTD.shape[1], self.mesh), self.mesh)

    def _embed(self, tokens_BT: Int32[Array, "B T"], rules: Rules) -> Float[Array, "B T D"]:
        return embed(self.embedding[...], tokens_BT, self.compute_dtype, self.mesh, rules)

    def _rope(self, positions_BT) -> tuple[Array, Array]:
        return rope_angles(positions_BT, self.config.head_dim, self.config.rope_theta)

    def _final(self, x_BTD) -> Float[Array, "B T D"]:
        return rms_norm(x_BTD, self.final_norm[...], self.config.rms_norm_eps)

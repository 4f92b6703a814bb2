"""The seam between the model and everything else: pure functions of a plain tree of parameters.

A policy is frozen and hashable, so it may be closed over or be a static argument under `jax.jit`; parameters
are nested dictionaries of arrays (entropy_rl.models.parameters), to which any jax transformation applies.
"""

from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import AbstractMesh, Mesh
from jaxtyping import Array, Bool, Float, Int

from entropy_rl.models.cache import Cache, Prefix
from entropy_rl.models.config import Qwen2Config
from entropy_rl.models.qwen2 import Qwen2
from entropy_rl.models.rematerialization import Rematerialize
from entropy_rl.models.training_attention import TrainingAttention, XLAAttention
from entropy_rl.parallelism import TRAINING_RULES, Rules
from pallas_kernels.sharding import Shards
from pallas_kernels.token_statistics import Implementation, XLATiles, token_statistics

Params = dict[str, Any]


@dataclass(frozen=True)
class Policy:
    """A Qwen2 or dense Qwen3 model as pure functions."""

    config: Qwen2Config
    """The architecture."""
    compute_dtype: str = "bfloat16"
    """Dtype of activations and matrix products; norms, softmax and logits are f32 all the same."""
    rematerialize: Rematerialize = "dots"
    """What the backward pass keeps of each layer; the rest it computes again."""
    attention: TrainingAttention = XLAAttention()
    """Attention of whole sequences and prompts. Single tokens are decoded by plain XLA all the same."""
    statistics: Implementation = XLATiles()
    """How log-probs and entropies come from hidden states."""
    shards: Shards | None = None
    """How the mesh cuts tokens, attention's heads and the vocabulary, for the kernels; None on one device."""

    @property
    def mesh(self) -> Mesh | AbstractMesh | None:
        """Where arrays lie; None on one device."""
        return None if self.shards is None else self.shards.mesh

    def init(self, key: Array, param_dtype: str = "float32") -> Params:
        """Random parameters. Under `jit` with output shardings, each device makes only its own share."""
        return nnx.to_pure_dict(nnx.split(_model(self, param_dtype, key))[1])

    def abstract_params(self, param_dtype: str = "float32") -> Params:
        """The tree of parameters as `jax.ShapeDtypeStruct`s; nothing is allocated."""
        return jax.eval_shape(partial(self.init, param_dtype=param_dtype), jax.random.key(0))

    def prefill(
        self,
        params: Params,
        prompt_ids_PS: Int[Array, "P S"],
        prompt_mask_PS: Bool[Array, "P S"],
        rules: Rules = TRAINING_RULES,
    ) -> tuple[Prefix, Float[Array, "P D"]]:
        """Runs prompts padded on the left, and gives the hidden state that predicts the first response token.

        The first real token has position 0. A prompt without any real token gives finite, meaningless values.
        `rules` tell how `params` lie; `decode_step` takes them by SAMPLING_RULES.
        """
        positions_PS = jnp.maximum(jnp.cumsum(prompt_mask_PS, axis=1, dtype=jnp.int32) - 1, 0)
        model = self._merge(params)
        hidden_PSD, (k, v) = model(
            prompt_ids_PS, positions_PS, prompt_mask_PS.astype(jnp.int32), keep_kv=True, rules=rules
        )
        length_P = prompt_mask_PS.sum(axis=1, dtype=jnp.int32)
        return Prefix(k_LPKSH=k, v_LPKSH=v, mask_PS=prompt_mask_PS, length_P=length_P), hidden_PSD[:, -1]

    def empty_cache(self, num_prompts: int, num_samples: int, size: int) -> Cache:
        """A cache of `size` slots for each sample of each prompt."""
        c = self.config
        shape = (c.num_layers, num_prompts, c.num_kv_heads, num_samples, size, c.head_dim)
        k, v = (jnp.zeros(shape, self.compute_dtype) for _ in range(2))
        return Cache(k_LPKGCH=k, v_LPKGCH=v).constrained(self.mesh)

    def decode_step(
        self,
        params: Params,
        token_B: Int[Array, " B"],
        position_B: Int[Array, " B"],
        prefix: Prefix,
        cache: Cache,
        index: Int[Array, ""] | int,
        past: tuple[Cache, ...] = (),
    ) -> tuple[Float[Array, "B D"], Cache]:
        """Runs a response token of every row into slot `index`; its hidden state predicts the next token.

        Row b continues prompt b // G. All slots of `past`, which is only read, come before those of `cache`;
        the position is `prefix.length_P[b // G] + index`, and more by the slots of `past`.
        """
        hidden_BD, cache = self._merge(params).decode(token_B, position_B, prefix, cache, index, past)
        return hidden_BD, cache.constrained(self.mesh)

    def response_hidden(
        self,
        params: Params,
        prompt_ids_PS: Int[Array, "P S"],
        prompt_mask_PS: Bool[Array, "P S"],
        response_ids_BT: Int[Array, "B T"],
    ) -> Float[Array, "B T D"]:
        """Hidden states that predict the response tokens: index t predicts response token t.

        Prompts are padded on the left and run once for the G responses of each (row b answers prompt b // G);
        responses are padded on the right. The last token of a response predicts nothing and is not run.
        """
        B, T = response_ids_BT.shape
        prefix, last_PD = self.prefill(params, prompt_ids_PS, prompt_mask_PS)
        group = B // prompt_ids_PS.shape[0]
        first_B1D = jnp.repeat(last_PD, group, axis=0)[:, None]
        if T == 1:
            return first_B1D
        # T - 1 positions: where T is even, no cut of them is, and what passes between layers lies whole over
        # the mesh axis of "positions". Packed rows, whose length is even, are cut.
        steps_T = jnp.arange(T - 1, dtype=jnp.int32)
        positions_BT = jnp.repeat(prefix.length_P, group)[:, None] + steps_T[None]
        rest_BTD, _ = self._merge(params)(response_ids_BT[:, :-1], positions_BT, prefix=prefix)
        return jnp.concatenate([first_B1D, rest_BTD], axis=1)

    def sequence_hidden(self, params: Params, tokens_BT: Int[Array, "B T"]) -> Float[Array, "B T D"]:
        """Hidden states of whole sequences padded on the right: index t predicts token t + 1."""
        positions_BT = jnp.broadcast_to(jnp.arange(tokens_BT.shape[1], dtype=jnp.int32), tokens_BT.shape)
        return self._merge(params)(tokens_BT, positions_BT)[0]

    def packed_hidden(
        self,
        params: Params,
        token_RC: Int[Array, "R C"],
        position_RC: Int[Array, "R C"],
        segment_RC: Int[Array, "R C"],
    ) -> Float[Array, "R C D"]:
        """Hidden states of rows into which several sequences are packed, each a segment of its own.

        Slot c predicts the token after it in its segment. A segment is one run of slots, and its positions
        begin at 0. Segment 0 is padding, whose hidden states are finite and mean nothing. Raises ValueError
        when the policy's attention knows one segment a row only.
        """
        if not self.attention.takes_packed_rows:
            raise ValueError(
                f"packed rows need an attention that knows segments; give packed=True to {self.attention}"
            )
        return self._merge(params, packed=True)(token_RC, position_RC, segment_RC)[0]

    def head(self, params: Params) -> Float[Array, "V D"]:
        """The output head, which is the embedding itself when tied."""
        return params["embedding" if self.config.tie_embeddings else "head"]

    def token_statistics(
        self,
        params: Params,
        hidden_BTD: Float[Array, "B T D"],
        label_BT: Int[Array, "B T"],
        *,
        temperature: float = 1.0,
    ) -> tuple[Float[Array, "B T"], Float[Array, "B T"]]:
        """Log-probability of each label and entropy (nats) of its distribution, f32 or wider."""
        flat = token_statistics(
            hidden_BTD.reshape(-1, hidden_BTD.shape[-1]),
            self.head(params),
            label_BT.reshape(-1),
            temperature=temperature,
            implementation=self.statistics,
            shards=self.shards,
        )
        return jax.tree.map(lambda x: x.reshape(label_BT.shape), flat)

    def logits(self, params: Params, hidden: Float[Array, "*batch D"]) -> Float[Array, "*batch V"]:
        """Unscaled logits, f32."""
        head_VD = self.head(params).astype(hidden.dtype)
        return jnp.einsum("...D,VD->...V", hidden, head_VD, preferred_element_type=jnp.float32)

    def _merge(self, params: Params, *, packed: bool = False) -> Qwen2:
        policy = self if packed else replace(self, attention=self.attention.of_padded_rows)
        return nnx.merge(_graph(policy), params)


def _model(policy: Policy, param_dtype: str, key: Array) -> Qwen2:
    return Qwen2(
        policy.config,
        rngs=nnx.Rngs(key),
        param_dtype=param_dtype,
        compute_dtype=policy.compute_dtype,
        rematerialize=policy.rematerialize,
        attention=policy.attention,
        shards=policy.shards,
    )


@cache
def _graph(policy: Policy):
    """The model's structure without its parameters, split once for each policy."""
    return nnx.split(nnx.eval_shape(partial(_model, policy, "float32"), jax.random.key(0)))[0]

"""The decode loop: one jitted function from parameters and prompts to a `Rollout`."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int32

from entropy_rl.models.policy import Policy
from entropy_rl.sampler.draw import Sampling, draw, token_uniforms
from entropy_rl.types import Rollout

FIRST_CACHE_SIZE = 128
"""Decode starts with a cache of this many positions and doubles it when full: attention over positions
that no sequence has reached yet would be paid in full at every step."""


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """Samples `num_samples` responses of at most `max_new_tokens` to each prompt. Static under jit."""

    policy: Policy
    sampling: Sampling
    stop_ids: tuple[int, ...]
    """Any of these token ids ends a response, and is its last token."""
    pad_id: int
    num_samples: int
    max_new_tokens: int

    def __post_init__(self):
        if self.max_new_tokens < 1 or self.num_samples < 1:
            raise ValueError(
                "max_new_tokens and num_samples must be at least 1, got "
                f"{self.max_new_tokens} and {self.num_samples}"
            )
        outside = [i for i in self.stop_ids if not 0 <= i < self.policy.config.vocab_size]
        if outside:
            raise ValueError(
                f"stop ids must be below the vocabulary size {self.policy.config.vocab_size}, got {outside}"
            )

    def __call__(
        self,
        params,
        prompt_ids_PS: Int32[Array, "P S"],
        prompt_mask_PS: Bool[Array, "P S"],
        prompt_id_P: Int32[Array, " P"],
        key: jax.Array,
    ) -> Rollout:
        """Rollout of P prompts (left padded); `key` holds the run's seed and the step."""
        return _generate(self, params, prompt_ids_PS, prompt_mask_PS, prompt_id_P, key)


@partial(jax.jit, static_argnums=0)
def _generate(sampler: Sampler, params, prompt_ids_PS, prompt_mask_PS, prompt_id_P, key) -> Rollout:
    policy, num_tokens = sampler.policy, sampler.max_new_tokens
    num_prompts, group = prompt_ids_PS.shape[0], sampler.num_samples
    batch = num_prompts * group
    uniform_BT2 = token_uniforms(key, prompt_id_P, num_samples=group, num_tokens=num_tokens)
    prefix, last_hidden_PD = policy.prefill(params, prompt_ids_PS, prompt_mask_PS)
    prompt_length_B = jnp.repeat(prefix.length_P, group, total_repeat_length=batch)
    choose = _chooser(sampler, uniform_BT2)

    logits_BV = jnp.repeat(policy.logits(params, last_hidden_PD), group, axis=0, total_repeat_length=batch)
    state = choose(0, logits_BV, _empty(batch, num_tokens, sampler.pad_id))
    cache = policy.empty_cache(num_prompts, group, _cache_sizes(num_tokens)[0])

    def advance(carry):
        t, state, cache = carry
        token_B = jax.lax.dynamic_index_in_dim(state["ids_BT"], t - 1, axis=1, keepdims=False)
        hidden_BD, cache = policy.decode_step(params, token_B, prompt_length_B + t - 1, prefix, cache, t - 1)
        return t + 1, choose(t, policy.logits(params, hidden_BD), state), cache

    t = jnp.int32(1)
    for size in _cache_sizes(num_tokens):
        cache = jax.tree.map(partial(_grow, size=size), cache)
        last = min(size, num_tokens - 1)
        t, state, cache = jax.lax.while_loop(
            lambda carry, last=last: (carry[0] <= last) & ~jnp.all(carry[1]["done_B"]),
            advance,
            (t, state, cache),
        )

    def by_group(x_BT):
        return x_BT.reshape(num_prompts, group, num_tokens)

    return Rollout(
        prompt_ids_PS=prompt_ids_PS,
        prompt_mask_PS=prompt_mask_PS,
        prompt_id_P=prompt_id_P,
        response_ids_PGT=by_group(state["ids_BT"]),
        response_mask_PGT=by_group(state["mask_BT"]),
        behavior_logp_PGT=by_group(state["behavior_logp_BT"]),
        logp_PGT=by_group(state["logp_BT"]),
    )


def _cache_sizes(num_tokens: int) -> list[int]:
    """Doubling sizes; the last token drawn is never fed back, so num_tokens - 1 positions suffice."""
    sizes, needed = [FIRST_CACHE_SIZE], max(num_tokens - 1, 1)
    while sizes[-1] < needed:
        sizes.append(2 * sizes[-1])
    return [min(size, needed) for size in sizes]


def _grow(x_LPKGCH, size):
    return jnp.pad(x_LPKGCH, ((0, 0),) * 4 + ((0, size - x_LPKGCH.shape[4]), (0, 0)))


def _empty(batch, num_tokens, pad_id):
    return {
        "ids_BT": jnp.full((batch, num_tokens), pad_id, jnp.int32),
        "mask_BT": jnp.zeros((batch, num_tokens), bool),
        "behavior_logp_BT": jnp.zeros((batch, num_tokens), jnp.float32),
        "logp_BT": jnp.zeros((batch, num_tokens), jnp.float32),
        "done_B": jnp.zeros(batch, bool),
    }


def _chooser(sampler: Sampler, uniform_BT2):
    """choose(t, logits_BV, state) -> state with token t drawn for every row that has not ended."""
    vocab = sampler.policy.config.vocab_size
    stop_ids = jnp.array(sampler.stop_ids or (-1,), jnp.int32)
    is_stop_V = jnp.isin(jnp.arange(vocab, dtype=jnp.int32), stop_ids)
    has_minimum = sampler.sampling.min_new_tokens > 0

    def choose(t, logits_BV, state):
        uniform_B2 = jax.lax.dynamic_index_in_dim(uniform_BT2, t, axis=1, keepdims=False)
        forbidden_V = is_stop_V & (t < sampler.sampling.min_new_tokens) if has_minimum else None
        token_B, behavior_logp_B, logp_B = draw(logits_BV, uniform_B2, sampler.sampling, forbidden_V)
        alive_B = ~state["done_B"]

        def put(name, value_B, otherwise):
            column_B1 = jnp.where(alive_B, value_B, otherwise)[:, None]
            return jax.lax.dynamic_update_slice_in_dim(state[name], column_B1, t, axis=1)

        return {
            "ids_BT": put("ids_BT", token_B, jnp.int32(sampler.pad_id)),
            "mask_BT": put("mask_BT", alive_B, False),
            "behavior_logp_BT": put("behavior_logp_BT", behavior_logp_B, 0.0),
            "logp_BT": put("logp_BT", logp_B, 0.0),
            "done_B": state["done_B"] | jnp.any(token_B[:, None] == stop_ids[None], axis=-1),
        }

    return choose

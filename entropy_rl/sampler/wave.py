"""The programs of a rollout: what is jitted, and what stays on the devices between two calls.

A sampler is static in all of them, so each can also be lowered and compiled for arrays that are not there:
what one returns has the shapes and the shardings that the next one takes.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32

from entropy_rl.models.cache import Cache, Prefix
from entropy_rl.models.policy import Params
from entropy_rl.parallelism import SAMPLING_RULES, constrain
from entropy_rl.sampler.draw import draw, token_uniforms
from entropy_rl.sampler.health import NUM_SUMS, draw_sums
from entropy_rl.sampler.settings import SamplerSettings
from entropy_rl.types import tree_of_arrays

FIRST_SEGMENT = 128
"""Slots of the first segment of the cache; each later one doubles what there is. So attention reads at most
twice the positions that have been reached, and growing copies nothing. Decoding may all the same: on GPUs the
scan over layers copies each layer's slices of the segments that it only reads."""

Prompts = tuple[Array, Array, Array]
"""Token ids [P, S] (padded on the left), which of them are real [P, S], and the prompts' identities [P]."""


@tree_of_arrays
@dataclass(frozen=True, kw_only=True)
class Wave:
    """What all calls of a wave read."""

    prefix: Prefix
    uniform_2BT: Float[Array, "2 B T"]
    """The randomness of every token."""


@tree_of_arrays
@dataclass(frozen=True, kw_only=True)
class Responses:
    """The responses of a wave as far as they have come."""

    ids_BT: Int32[Array, "B T"]
    mask_BT: Bool[Array, "B T"]
    behavior_logp_BT: Float[Array, "B T"]
    logp_BT: Float[Array, "B T"]
    done_B: Bool[Array, " B"]
    num_drawn: Int32[Array, ""]
    """Tokens drawn for every row that has not ended before."""
    health_PN: Float[Array, "P N"] | None
    """Sums over the draws of each prompt's first response; None where nobody watches the logits."""


def segment_sizes(max_new_tokens: int) -> list[int]:
    """Slots of the segments; the last token drawn is never fed back, so that it needs none.

    Past the first segment they are multiples of it, as tiles of the accelerators' memory are of 128.
    """
    needed = max(max_new_tokens - 1, 1)
    sizes = [min(needed, FIRST_SEGMENT)]
    while (missing := needed - sum(sizes)) > 0:
        sizes.append(min(sum(sizes), -(-missing // FIRST_SEGMENT) * FIRST_SEGMENT))
    return sizes


@partial(jax.jit, static_argnums=(0, 3))
def take_wave(
    sampler: SamplerSettings, prompts: Prompts, start: Int32[Array, ""], num_prompts: int
) -> Prompts:
    """`num_prompts` prompts from `start` on; the last wave is filled up from the beginning."""
    index_P = (start + jnp.arange(num_prompts, dtype=jnp.int32)) % prompts[2].shape[0]
    return _by_rows(sampler, tuple(x[index_P] for x in prompts))


@partial(jax.jit, static_argnums=0)
def prefill_wave(
    sampler: SamplerSettings,
    params: Params,
    prompt_ids_PS: Int32[Array, "P S"],
    prompt_mask_PS: Bool[Array, "P S"],
    prompt_id_P: Int32[Array, " P"],
    key: jax.Array,
) -> tuple[Wave, Responses]:
    """Runs the prompts, and draws the first token of each response."""
    policy, group, num_tokens = sampler.policy, sampler.num_samples, sampler.max_new_tokens
    batch = prompt_ids_PS.shape[0] * group
    prefix, last_hidden_PD = policy.prefill(params, prompt_ids_PS, prompt_mask_PS, SAMPLING_RULES)
    uniform_BT2 = token_uniforms(key, prompt_id_P, num_samples=group, num_tokens=num_tokens)
    uniform_2BT = constrain(jnp.moveaxis(uniform_BT2, -1, 0), (None, "batch", None), policy.mesh)
    nothing = Responses(
        ids_BT=jnp.full((batch, num_tokens), sampler.pad_id, jnp.int32),
        mask_BT=jnp.zeros((batch, num_tokens), bool),
        behavior_logp_BT=jnp.zeros((batch, num_tokens), jnp.float32),
        logp_BT=jnp.zeros((batch, num_tokens), jnp.float32),
        done_B=jnp.zeros(batch, bool),
        num_drawn=jnp.int32(0),
        health_PN=jnp.zeros((batch // group, NUM_SUMS), jnp.float32) if sampler.watches_logits else None,
    )
    logits_PV = policy.logits(params, last_hidden_PD)
    logits_BV = jnp.repeat(logits_PV, group, axis=0, total_repeat_length=batch)
    responses = _draw_next(sampler, logits_BV, uniform_2BT, nothing)
    return Wave(prefix=prefix.constrained(policy.mesh), uniform_2BT=uniform_2BT), responses


@partial(jax.jit, static_argnums=(0, 1, 2))
def empty_segment(sampler: SamplerSettings, num_prompts: int, size: int) -> Cache:
    """A segment of the cache without anything in it."""
    return sampler.policy.empty_cache(num_prompts, sampler.num_samples, size)


@partial(jax.jit, static_argnums=0, donate_argnames=("cache", "responses"))
def decode_call(
    sampler: SamplerSettings,
    params: Params,
    wave: Wave,
    past: tuple[Cache, ...],
    cache: Cache,
    responses: Responses,
    stop: Int32[Array, ""],
) -> tuple[Cache, Responses, Bool[Array, ""]]:
    """Decodes until `stop` tokens are drawn or all rows have ended; tells whether these have.

    Slot i of `cache` is of token i + the slots of `past`, all of which are full; `stop` must be at most one
    more than all slots. `cache` and `responses` are donated.
    """
    policy, prefix = sampler.policy, wave.prefix
    offset = sum(segment.k_LPKGCH.shape[4] for segment in past)
    length_B = jnp.repeat(prefix.length_P, sampler.num_samples, total_repeat_length=len(responses.done_B))

    def goes_on(carry):
        _, responses = carry
        return (responses.num_drawn < stop) & ~jnp.all(responses.done_B)

    def advance(carry):
        cache, responses = carry
        last = responses.num_drawn - 1
        token_B = jax.lax.dynamic_index_in_dim(responses.ids_BT, last, axis=1, keepdims=False)
        hidden_BD, cache = policy.decode_step(
            params, token_B, length_B + last, prefix, cache, last - offset, past
        )
        logits_BV = policy.logits(params, hidden_BD)
        return cache, _draw_next(sampler, logits_BV, wave.uniform_2BT, responses)

    cache, responses = jax.lax.while_loop(goes_on, advance, (cache, responses))
    return cache, responses, _by_rows(sampler, jnp.all(responses.done_B))


@partial(jax.jit, static_argnums=(0, 2))
def join_waves(sampler: SamplerSettings, waves: list[Responses], num_prompts: int) -> tuple[Array, ...]:
    """Token ids, mask, and the two log-probs, each [P, G, T], of the first prompts of these waves."""

    def joined(name):
        x_BT = jnp.concatenate([getattr(wave, name) for wave in waves])
        return x_BT.reshape(-1, sampler.num_samples, sampler.max_new_tokens)[:num_prompts]

    names = ("ids_BT", "mask_BT", "behavior_logp_BT", "logp_BT")
    return _by_rows(sampler, tuple(joined(name) for name in names))


@partial(jax.jit, static_argnums=(0, 2))
def join_health(
    sampler: SamplerSettings, waves: list[Responses], num_prompts: int
) -> tuple[Float[Array, "P N"], Bool[Array, "P T"]]:
    """The sums of the first prompts of these waves, and which tokens they are of; whole on every device."""
    sum_PN = jnp.concatenate([wave.health_PN for wave in waves])[:num_prompts]
    mask_PT = jnp.concatenate([wave.mask_BT[:: sampler.num_samples] for wave in waves])[:num_prompts]
    mesh = sampler.policy.mesh
    return constrain(sum_PN, (None, None), mesh), constrain(mask_PT, (None, None), mesh)


def _by_rows(sampler: SamplerSettings, tree):
    """Every array cut along its first axis, which is of prompts or of their responses."""

    def cut(x):
        return constrain(x, ("batch", *(None,) * (x.ndim - 1)) if x.ndim else (), sampler.policy.mesh)

    return jax.tree.map(cut, tree)


def _draw_next(
    sampler: SamplerSettings,
    logits_BV: Float[Array, "B V"],
    uniform_2BT: Float[Array, "2 B T"],
    responses: Responses,
) -> Responses:
    """The responses with one more token for every row that has not ended."""
    t, sampling = responses.num_drawn, sampler.sampling
    stop_ids = jnp.array(sampler.stop_ids or (-1,), jnp.int32)
    forbidden_V = None
    if sampling.min_new_tokens > 0:
        is_stop_V = jnp.isin(jnp.arange(logits_BV.shape[1], dtype=jnp.int32), stop_ids)
        forbidden_V = is_stop_V & (t < sampling.min_new_tokens)
    uniform_2B = jax.lax.dynamic_index_in_dim(uniform_2BT, t, axis=2, keepdims=False)
    drawn = draw(_whole_rows(sampler, logits_BV), uniform_2B.T, sampling, forbidden_V)
    token_B, behavior_logp_B, logp_B = drawn = _by_rows(sampler, drawn)
    alive_B = ~responses.done_B

    def put(x_BT, value_B, otherwise):
        column_B1 = jnp.where(alive_B, value_B, otherwise)[:, None]
        return jax.lax.dynamic_update_slice_in_dim(x_BT, column_B1, t, axis=1)

    after = Responses(
        ids_BT=put(responses.ids_BT, token_B, jnp.int32(sampler.pad_id)),
        mask_BT=put(responses.mask_BT, alive_B, False),
        behavior_logp_BT=put(responses.behavior_logp_BT, behavior_logp_B, 0.0),
        logp_BT=put(responses.logp_BT, logp_B, 0.0),
        done_B=responses.done_B | jnp.any(token_B[:, None] == stop_ids[None], axis=-1),
        num_drawn=t + 1,
        health_PN=None if responses.health_PN is None else _health(sampler, logits_BV, drawn, responses),
    )
    return _by_rows(sampler, after)


def _health(
    sampler: SamplerSettings, logits_BV: Float[Array, "B V"], drawn: tuple[Array, ...], responses: Responses
) -> Float[Array, "P N"]:
    """The sums, one draw further. The logits are as the policy returned them, before the rows were moved."""

    def first(x):
        return _by_rows(sampler, x.reshape(-1, sampler.num_samples, *x.shape[1:])[:, 0])

    token_B, _, logp_B = drawn
    seen_PN = draw_sums(
        _whole_rows(sampler, first(logits_BV)),
        first(token_B),
        first(logp_B),
        sampler.sampling,
        sampler.stop_ids,
        responses.num_drawn,
    )
    return responses.health_PN + jnp.where(first(responses.done_B)[:, None], 0, seen_PN)


def _whole_rows(sampler: SamplerSettings, logits_BV: Float[Array, "B V"]) -> Float[Array, "B V"]:
    """Logits whose rows, not their vocabulary, are cut over the tensor axis too, so that each is drawn from
    where it lies and as on one device. Gathering whole rows on all devices of that axis would cost more."""
    mesh = sampler.policy.mesh
    if mesh is None:
        return logits_BV
    logits_BV = constrain(logits_BV, ("batch", "vocab"), mesh)
    enough = logits_BV.shape[0] % mesh.size == 0
    return constrain(logits_BV, ("draws" if enough else "batch", None), mesh, SAMPLING_RULES)

"""Operands, and what the reference in float64 makes of the same, already rounded operands."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels.token_statistics import token_statistics, token_statistics_reference


class Case(NamedTuple):
    """One call of the operation, with the gradients that its outputs receive."""

    hidden_TD: jax.Array
    head: jax.Array
    label_T: jax.Array
    bars: tuple[jax.Array, jax.Array]
    options: dict
    """Keywords of the operation that change its result."""


def make_case(
    num_tokens: int,
    hidden_size: int,
    vocab: int,
    *,
    dtype="float32",
    logit_std=2.0,
    temperature=1.0,
    vocab_axis=0,
    num_phantom=0,
    seed=0,
) -> Case:
    """Logits of standard deviation `logit_std`; the last `num_phantom` columns hold nan and do not count."""
    k1, k2, k3, k4, k5 = jax.random.split(jax.random.key(seed), 5)
    hidden_TD = jax.random.normal(k1, (num_tokens, hidden_size)).astype(dtype)
    head_VD = logit_std * hidden_size**-0.5 * jax.random.normal(k2, (vocab, hidden_size))
    valid = vocab - num_phantom
    head_VD = head_VD.at[valid:].set(jnp.nan).astype(dtype)
    return Case(
        hidden_TD,
        head_VD if vocab_axis == 0 else head_VD.T,
        jax.random.randint(k3, (num_tokens,), 0, valid),
        (jax.random.normal(k4, (num_tokens,)), jax.random.normal(k5, (num_tokens,))),
        {
            "temperature": temperature,
            "vocab_axis": vocab_axis,
            "valid_vocab_size": valid if num_phantom else None,
        },
    )


def outcome(case: Case, **how) -> list[np.ndarray]:
    """[log-probs, entropies, gradient of hidden, gradient of head] of `token_statistics(..., **how)`."""

    def both(hidden_TD, head, label_T, bars):
        values, pull = jax.vjp(
            lambda h, w: token_statistics(h, w, label_T, **case.options, **how), hidden_TD, head
        )
        return values + pull(bars)

    return [np.asarray(x) for x in jax.jit(both)(case.hidden_TD, case.head, case.label_T, case.bars)]


def outcome_in_float64(case: Case) -> list[np.ndarray]:
    """The same four of the reference, in float64 on the same rounded operands."""
    with jax.enable_x64(True):
        wide = [jnp.asarray(np.asarray(x, np.float64)) for x in (case.hidden_TD, case.head)]
        bars = tuple(jnp.asarray(np.asarray(bar, np.float64)) for bar in case.bars)
        label_T = jnp.asarray(np.asarray(case.label_T))
        values, pull = jax.vjp(lambda h, w: token_statistics_reference(h, w, label_T, **case.options), *wide)
        return [np.asarray(x) for x in values + pull(bars)]


def relative_error(got: np.ndarray, want: np.ndarray) -> float:
    """|got - want| / |want| by norm."""
    return float(np.linalg.norm(got.astype(np.float64) - want) / np.linalg.norm(want))

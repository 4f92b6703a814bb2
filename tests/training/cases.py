"""Mini-batches with every awkward thing in them: padding, truncation, distinct prime sizes."""

import jax
import jax.numpy as jnp
import numpy as np

from entropy_rl.objectives import GroupAdvantage
from entropy_rl.training.batch import Minibatch
from entropy_rl.types import Rollout

PROMPTS, SAMPLES, PROMPT_TOKENS, TOKENS = 4, 3, 5, 7
"""PROMPTS is divisible by 1, 2 and 4 micro-batches; the rest are distinct primes."""


def make_rollout(vocab_size: int, seed: int = 0) -> Rollout:
    rng = np.random.default_rng(seed)
    prompt_length_P = rng.integers(1, PROMPT_TOKENS + 1, PROMPTS)
    length_PG = rng.integers(1, TOKENS + 1, (PROMPTS, SAMPLES))
    shape = (PROMPTS, SAMPLES, TOKENS)
    return Rollout(
        prompt_ids_PS=jnp.asarray(rng.integers(0, vocab_size, (PROMPTS, PROMPT_TOKENS)), jnp.int32),
        prompt_mask_PS=jnp.asarray(np.arange(PROMPT_TOKENS) >= PROMPT_TOKENS - prompt_length_P[:, None]),
        prompt_id_P=jnp.asarray(rng.permutation(100)[:PROMPTS], jnp.int32),
        response_ids_PGT=jnp.asarray(rng.integers(0, vocab_size, shape), jnp.int32),
        response_mask_PGT=jnp.asarray(np.arange(TOKENS) < length_PG[..., None]),
        behavior_logp_PGT=jnp.zeros(shape),
        logp_PGT=jnp.zeros(shape),
    )


def make_batch(vocab_size: int, *, on_policy: bool, seed: int = 0) -> Minibatch:
    """A mini-batch; off policy, its old log-probs are made up, around -1."""
    rollout = make_rollout(vocab_size, seed)
    k1, k2, k3 = jax.random.split(jax.random.key(seed), 3)
    shape = rollout.response_ids_PGT.shape
    return Minibatch(
        rollout=rollout,
        adv_PG=GroupAdvantage()(jax.random.normal(k1, shape[:2])),
        old_logp_PGT=-1 + 0.5 * jax.random.normal(k2, shape),
        on_policy=jnp.bool_(on_policy),
        ref_logp_PGT=-1 + 0.5 * jax.random.normal(k3, shape),
    )

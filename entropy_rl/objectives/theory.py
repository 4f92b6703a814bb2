"""The two sides of the paper's theory (arXiv 2505.22617, section 3): how entropy moves, and what predicts it.

Lemma 1 is of logits, state by state, and needs no step size: to first order in the change of the logits

    H(pi_after) - H(pi_before) = -Cov_{a ~ pi_before}(log pi_before(a), z_after(a) - z_before(a)).

Theorems 1 and 2 replace the change of the logits by what a policy gradient, or a natural one, would make of
it: eta * pi(a) * A(a), or eta * A(a). They are tested as the paper does (Eq. 9, Fig. 8), as of a bandit.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from entropy_rl.objectives.numerics import as_float, masked_mean


def entropy_of_logits(logits_NV: Float[Array, "N V"]) -> Float[Array, " N"]:
    """Entropy (nats) of softmax(logits), row by row: -sum_a pi(a) log pi(a)."""
    logp_NV = jax.nn.log_softmax(as_float(logits_NV), axis=-1)
    return -jnp.sum(jnp.exp(logp_NV) * logp_NV, axis=-1)


def lemma1_change(before_NV: Float[Array, "N V"], after_NV: Float[Array, "N V"]) -> Float[Array, " N"]:
    """The change of entropy (nats) that Lemma 1 predicts, row by row: exactly over the vocabulary, no sample.

    Logits of two policies at the same states. What is added to a whole row of either changes nothing, so
    log-probs serve as well; where nothing else differs, the prediction is 0 but for rounding, and where
    nothing differs at all it is exactly 0.
    """
    logp_NV = jax.nn.log_softmax(as_float(before_NV), axis=-1)
    p_NV = jnp.exp(logp_NV)
    change_NV = as_float(after_NV) - as_float(before_NV)
    centred_NV = change_NV - jnp.sum(p_NV * change_NV, axis=-1, keepdims=True)
    return -jnp.sum(p_NV * (logp_NV + entropy_of_logits(before_NV)[:, None]) * centred_NV, axis=-1)


def bandit_covariances(
    logp_PGT: Float[Array, "P G T"], mask_PGT: Bool[Array, "P G T"], adv_PG: Float[Array, "P G"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Theorem 1's covariance, Cov(log pi, pi * A), and Theorem 2's, Cov(log pi, A), of whole responses.

    The state is the prompt and the action the response. Its log-probability is that of its tokens, divided by
    their number (Eq. 9), and its probability pi the exponential of that: the geometric mean of its tokens'.
    The covariance is over the G responses of a group, all of which count alike since they were drawn from the
    policy (divided by G), then averaged over the groups that have any token, those of equal rewards among
    them. The step size, which would turn it into a change of entropy, is left out. `logp_PGT` is of the
    policy before the updates.
    """
    length_PG = jnp.sum(mask_PGT, axis=-1, dtype=jnp.int32)
    logp_PG = jnp.sum(jnp.where(mask_PGT, as_float(logp_PGT), 0), axis=-1) / jnp.maximum(length_PG, 1)
    adv_PG, present_P = as_float(adv_PG), (length_PG > 0).any(axis=1)
    centred_PG = logp_PG - logp_PG.mean(axis=1, keepdims=True)

    def over_groups(x_PG):
        covariance_P = jnp.mean(centred_PG * (x_PG - x_PG.mean(axis=1, keepdims=True)), axis=1)
        return masked_mean(covariance_P, present_P)

    return over_groups(jnp.exp(logp_PG) * adv_PG), over_groups(adv_PG)

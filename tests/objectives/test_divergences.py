import jax
import jax.numpy as jnp
import numpy as np
import pytest

from entropy_rl.objectives import K1, K2, K3, KLCov, Regularizer, TokenMean, masked_sum

from . import references
from .batches import random_batch

every_divergence = pytest.mark.parametrize("divergence", [K1(), K2(), K3()], ids=["k1", "k2", "k3"])


@every_divergence
def test_estimates_equal_the_reference_even_where_they_are_clamped(divergence):
    x = np.array([[0.0, 0.3, -0.3, 2.0, -2.0, 25.0, -25.0]])
    ref_logp = jnp.full(x.shape, -50.0)
    got = divergence(ref_logp + x, ref_logp, jnp.ones(x.shape, bool))
    expected = [[references.divergence(type(divergence).__name__, value) for value in x[0]]]
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=2e-6)


@every_divergence
@pytest.mark.parametrize("poison", [jnp.nan, -jnp.inf])
def test_nothing_under_the_mask_leaks_into_values_or_gradients(divergence, poison):
    def total(logp, batch):
        return jnp.sum(divergence(logp, batch.old_logp, batch.mask))

    clean, dirty = random_batch(), random_batch(poison=poison)
    assert total(dirty.logp, dirty) == total(clean.logp, clean)
    assert jnp.array_equal(jax.grad(total)(dirty.logp, dirty), jax.grad(total)(clean.logp, clean))


@every_divergence
def test_a_policy_equal_to_its_reference_has_no_divergence(divergence):
    batch = random_batch()
    assert not divergence(batch.logp, batch.logp, batch.mask).any()


def test_k1_and_k3_are_unbiased_over_the_policys_own_tokens():
    logp_V = jax.nn.log_softmax(jnp.array([0.3, -0.2, 1.1, 0.0, -0.9]))
    ref_logp_V = jax.nn.log_softmax(jnp.array([0.1, 0.4, 0.2, -0.5, 0.0]))
    exact = jnp.sum(jnp.exp(logp_V) * (logp_V - ref_logp_V))
    for divergence in (K1(), K3()):
        estimate_1V = divergence(logp_V[None], ref_logp_V[None], jnp.ones((1, 5), bool))
        np.testing.assert_allclose(jnp.sum(jnp.exp(logp_V) * estimate_1V[0]), exact, rtol=1e-5)


def test_the_regularizer_adds_kl_and_subtracts_entropy():
    batch = random_batch(poison=jnp.nan)
    regularizer = Regularizer(entropy_coef=0.3, kl_coef=0.7, divergence=K1())
    got = regularizer.token_penalty(
        logp_BT=batch.logp, mask_BT=batch.mask, entropy_BT=-batch.adv, ref_logp_BT=batch.old_logp
    )
    expected = jnp.where(batch.mask, 0.7 * (batch.logp - batch.old_logp) + 0.3 * batch.adv, 0)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)


def test_without_coefficients_the_regularizer_needs_nothing_and_adds_nothing():
    batch, regularizer = random_batch(), Regularizer()
    assert not regularizer.needs_entropy and not regularizer.needs_reference
    assert not regularizer.token_penalty(logp_BT=batch.logp, mask_BT=batch.mask).any()


@pytest.mark.parametrize("entropy_coef, direction", [(0.01, 1), (-0.01, -1)])
def test_one_step_on_an_entropy_bonus_with_zero_advantage_raises_entropy(entropy_coef, direction):
    with jax.enable_x64(True):
        logits_BTV = jax.random.normal(jax.random.key(0), (3, 5, 7), jnp.float64)
        mask_BT = jnp.arange(5)[None] < jnp.array([5, 2, 1])[:, None]

        def entropy(logits_BTV):
            logp_BTV = jax.nn.log_softmax(logits_BTV)
            return -jnp.sum(jnp.exp(logp_BTV) * logp_BTV, axis=-1)

        def loss(logits_BTV):
            logp_BT = jax.nn.log_softmax(logits_BTV)[..., 0]
            batch = {"logp_BT": logp_BT, "mask_BT": mask_BT}
            nothing, zero = jnp.zeros_like(mask_BT), jnp.zeros_like(logp_BT)
            policy_BT = KLCov().token_loss(**batch, old_logp_BT=logp_BT, adv_BT=zero, selected_BT=nothing)
            regularizer = Regularizer(entropy_coef=entropy_coef)
            penalty_BT = regularizer.token_penalty(**batch, entropy_BT=entropy(logits_BTV))
            return masked_sum(TokenMean().weights(mask_BT) * (policy_BT + penalty_BT), mask_BT)

        slope_BTV = jax.grad(loss)(logits_BTV)
        change_BT = entropy(logits_BTV - 1e-3 * slope_BTV) - entropy(logits_BTV)
        # To first order dH = 1e-3 |slope|^2 / (coefficient * weight), far above the rounding of float64.
        assert slope_BTV.dtype == jnp.float64 and not slope_BTV[~mask_BT].any()
        assert (direction * change_BT[mask_BT] > 1e-10).all()

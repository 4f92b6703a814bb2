import jax
import jax.numpy as jnp
import pytest

from entropy_rl.objectives import as_float, log_ratio, masked_mean, masked_sum

from .batches import random_batch


@pytest.mark.parametrize("poison", [jnp.nan, jnp.inf, -jnp.inf])
def test_masked_entries_reach_neither_value_nor_gradient(poison):
    clean, dirty = random_batch(), random_batch(poison=poison)
    for reduce in (masked_sum, masked_mean):
        value, gradient = jax.value_and_grad(reduce)(dirty.logp, dirty.mask)
        assert value == reduce(clean.logp, clean.mask)
        assert jnp.array_equal(gradient, jax.grad(reduce)(clean.logp, clean.mask))


def test_an_empty_mask_gives_zero_and_a_zero_gradient():
    x, nowhere = jnp.full((3, 5), jnp.nan), jnp.zeros((3, 5), bool)
    for reduce in (masked_sum, masked_mean):
        value, gradient = jax.value_and_grad(reduce)(x, nowhere)
        assert value == 0 and not gradient.any()


def test_half_precision_is_added_up_in_float32():
    x = jnp.ones((3, 1009), jnp.bfloat16)  # bfloat16 cannot count beyond 256
    assert masked_sum(x, x > 0) == 3027 and masked_sum(x, x > 0).dtype == jnp.float32


def test_float64_is_kept():
    with jax.enable_x64(True):
        x = jnp.array([1.0, 1e-12])
        assert as_float(x).dtype == jnp.float64
        assert masked_sum(x, x > 0) == 1.0 + 1e-12


def test_the_log_ratio_has_no_gradient_in_its_reference():
    x = random_batch().logp
    gradient = jax.grad(lambda logp: log_ratio(logp, logp, logp < 0).sum())(x)
    assert jnp.array_equal(gradient, (x < 0).astype(jnp.float32))

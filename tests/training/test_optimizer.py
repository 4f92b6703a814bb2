"""Optimisers against optax's own, and what their states keep."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from entropy_rl.training.optimizer import Adafactor, AdamW

SETTINGS = AdamW(learning_rate=1e-2, warmup_updates=2, b1=0.8, b2=0.95, eps=1e-6, weight_decay=0.1)


def parameters():
    k1, k2 = jax.random.split(jax.random.key(0))
    return {"matrix": jax.random.normal(k1, (5, 7)), "bias": jax.random.normal(k2, (3,))}


def gradients(step: int):
    """Of norm about 0.5 and 5 in turn, so that some are clipped at 1 and some are not."""
    scale = 5.0 if step % 2 else 0.5
    return jax.tree.map(lambda x: scale * jax.random.normal(jax.random.key(step), x.shape) / 6, parameters())


def follow(init, update, num_updates: int):
    """(parameters, state) after so many updates."""
    params = parameters()
    state, update = init(params), jax.jit(update)
    for step in range(num_updates):
        updates, state = update(gradients(step), state, params)
        params = optax.apply_updates(params, updates)
    return params, state


def test_adamw_is_that_of_optax_behind_a_clip_by_the_global_norm():
    norms = [float(optax.tree.norm(gradients(step))) for step in range(2)]
    assert norms[0] < 1 < norms[1]
    ours, _ = follow(SETTINGS.init, SETTINGS.transformation().update, 5)
    rate = optax.linear_schedule(0.0, 1e-2, 2)
    plain = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(rate, b1=0.8, b2=0.95, eps=1e-6, weight_decay=0.1)
    )
    theirs, _ = follow(plain.init, plain.update, 5)
    for name, value in ours.items():
        np.testing.assert_allclose(value, theirs[name], atol=1e-7)
        assert (value != parameters()[name]).any()


def test_the_learning_rate_rises_linearly_and_stays():
    assert [float(SETTINGS.schedule()(step)) for step in range(4)] == pytest.approx([0, 0.005, 0.01, 0.01])
    assert float(AdamW(learning_rate=1e-2).schedule()(0)) == pytest.approx(0.01)
    unmoved, _ = follow(SETTINGS.init, SETTINGS.transformation().update, 1)
    np.testing.assert_array_equal(unmoved["matrix"], parameters()["matrix"])


def test_a_bf16_first_moment_stays_bf16_and_moves_parameters_as_an_f32_one_to_its_rounding():
    num_updates, settings = 6, replace(SETTINGS, warmup_updates=0)
    half = replace(settings, first_moment_dtype="bfloat16")
    expected, _ = follow(settings.init, settings.transformation().update, num_updates)
    got, state = follow(half.init, half.transformation().update, num_updates)
    adam = next(part for part in jax.tree.leaves(state, is_leaf=is_adam) if is_adam(part))
    assert {x.dtype for x in jax.tree.leaves(adam.mu)} == {jnp.dtype("bfloat16")}
    assert {x.dtype for x in jax.tree.leaves(adam.nu)} == {jnp.dtype("float32")}
    # Rounding takes 2^-9 of the moment; what is carried on sums to 0.8 / (1 - 0.8) = 4 of these at most. A
    # step is 0.01 times a ratio of moments that stays under 2 here: 6 * 0.01 * 2 * 4 * 2^-9 = 9.4e-4.
    for name, value in got.items():
        gap = jnp.abs(value - expected[name]).max()
        assert 0 < gap < 9.4e-4 and value.dtype == jnp.float32


def is_adam(part) -> bool:
    return isinstance(part, optax.ScaleByAdamState)


def test_the_state_of_bf16_parameters_is_f32():
    half = jax.tree.map(lambda x: x.astype(jnp.bfloat16), parameters())
    for optimizer in (AdamW(), Adafactor()):
        floats = [x for x in jax.tree.leaves(optimizer.init(half)) if jnp.issubdtype(x.dtype, jnp.floating)]
        assert floats and {x.dtype for x in floats} == {jnp.dtype("float32")}


def test_adafactor_keeps_hardly_any_state_and_lowers_a_quadratic():
    params = {"matrix": jax.random.normal(jax.random.key(1), (3, 131, 137))}
    optimizer = Adafactor(learning_rate=0.1)
    state, update = optimizer.init(params), jax.jit(optimizer.transformation().update)
    assert sum(x.size for x in jax.tree.leaves(state)) < 0.03 * params["matrix"].size
    before = optax.tree.norm(params)
    for _ in range(3):  # the gradient of half the squared norm is the parameters themselves
        updates, state = update(params, state, params)
        params = optax.apply_updates(params, updates)
    assert optax.tree.norm(params) < 0.9 * before


@pytest.mark.parametrize("bad", [{"learning_rate": -1.0}, {"warmup_updates": -1}, {"max_grad_norm": 0.0}])
def test_impossible_settings_are_refused(bad):
    for optimizer in (AdamW, Adafactor):
        with pytest.raises(ValueError, match=next(iter(bad))):
            optimizer(**bad)

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


HALF = replace(SETTINGS, warmup_updates=0, first_moment_dtype="bfloat16", second_moment_dtype="bfloat16")


def test_both_moments_in_bf16_move_parameters_as_f32_ones_to_their_rounding():
    settings = replace(HALF, first_moment_dtype="float32", second_moment_dtype="float32")
    expected, _ = follow(settings.init, settings.transformation().update, 6)
    got, state = follow(HALF.init, HALF.transformation().update, 6)
    adam = next(part for part in jax.tree.leaves(state, is_leaf=is_adam) if is_adam(part))
    assert {x.dtype for x in jax.tree.leaves((adam.mu, adam.nu))} == {jnp.dtype("bfloat16")}
    # The first moment's 9.4e-4 (above). A second moment is off by 2^-7 an update at most, all roundings added
    # 6 * 2^-7, its root by half of that, in steps of 0.01 * 2: 6 * 0.01 * 2 * 3 * 2^-7 = 2.8e-3.
    for name, value in got.items():
        gap = jnp.abs(value - expected[name]).max()
        assert 0 < gap < 3.8e-3 and value.dtype == jnp.float32


def test_a_bf16_second_moment_decays_as_it_should_in_the_mean():
    num_updates, size = 1000, 4096
    adam = AdamW(b2=0.999, second_moment_dtype="bfloat16").direction()
    zeros = {"x": jnp.zeros(size)}
    first, *rest = adam.init(zeros)
    state = (first._replace(nu={"x": jnp.ones(size, jnp.bfloat16)}), *rest)

    @jax.jit
    def decayed(state):
        return jax.lax.fori_loop(0, num_updates, lambda _, state: adam.update(zeros, state, zeros)[1], state)

    nu = np.asarray(decayed(state)[0].nu["x"], np.float64)
    # An update rounds by at most half of 2^-7 (one standard deviation), so 1,000 by 12 %, the mean of 4,096
    # by 0.2 %; four of these.
    assert nu.mean() == pytest.approx(0.999**num_updates, rel=8e-3) and nu.std() > 0
    assert jnp.bfloat16(0.999) == 1  # to the nearest, it would not have moved at all


def test_f32_moments_are_those_of_optax_bit_for_bit():
    ours = replace(SETTINGS, weight_decay=0.0).direction()
    plain = optax.scale_by_adam(0.8, 0.95, 1e-6)
    (params, (state, _)), (expected, expected_state) = (follow(t.init, t.update, 4) for t in (ours, plain))
    jax.tree.map(np.testing.assert_array_equal, (params, state), (expected, expected_state))


def test_a_state_of_bf16_moments_that_was_stored_goes_on_exactly():
    update = jax.jit(HALF.transformation().update)
    state = stored = HALF.init(parameters())
    for step in range(4):
        _, state = update(gradients(step), state, parameters())
        _, stored = update(gradients(step), jax.tree.map(np.array, stored), parameters())
    jax.tree.map(np.testing.assert_array_equal, stored, state)


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

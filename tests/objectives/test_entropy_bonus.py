"""How the coefficient of the entropy bonus goes from step to step: limits, then goldens."""

import jax.numpy as jnp
import numpy as np
import pytest

from entropy_rl.objectives import (
    CoefficientOfStep,
    DecayingEntropyBonus,
    Regularizer,
    StaticEntropyBonus,
    TargetEntropyBonus,
)


def coefficients(regularizer, entropies):
    """Of consecutive steps with these entropies, each told what the one before carried."""
    carried, found = None, []
    for step, entropy in enumerate(entropies, start=1):
        coefficient = CoefficientOfStep(regularizer, step=step, carried=carried)
        found.append(coefficient(entropy))
        carried = coefficient.carried
    return found


def test_a_static_coefficient_stays_and_remembers_nothing():
    coefficient = CoefficientOfStep(Regularizer(entropy_coef=0.3), step=7)
    assert coefficient(None) == 0.3 and coefficient.carried is None


def test_a_decay_goes_in_a_straight_line_and_then_stays():
    regularizer = Regularizer(entropy_coef=0.5, entropy_bonus=DecayingEntropyBonus(final=0.25, decay_steps=2))
    # Halfway after one step of two; from step 3 on the final one.
    assert coefficients(regularizer, [None] * 5) == [0.5, 0.375, 0.25, 0.25, 0.25]


def test_a_decay_over_one_step_to_the_same_coefficient_is_a_static_one():
    regularizer = Regularizer(entropy_coef=0.3, entropy_bonus=DecayingEntropyBonus(final=0.3, decay_steps=1))
    assert coefficients(regularizer, [None] * 3) == [0.3] * 3


def test_a_target_raises_the_coefficient_below_itself_lowers_it_above_and_applies_it_only_below():
    bonus = TargetEntropyBonus(target_nats=0.5, step_size=0.125, maximum=0.3)
    #                                    below  below  above  at it  below  below  below  below
    got = coefficients(Regularizer(entropy_bonus=bonus), [0.4, 0.3, 0.6, 0.5, 0.2, 0.2, 0.2, 0.2])
    # c:                  0, 1/8, 2/8, 1/8 (applied and lowered), 0, 1/8, 2/8, 3/8 cut to 0.3
    assert got == [0.0, 0.125, 0.0, 0.125, 0.0, 0.125, 0.25, 0.3]


def test_a_target_that_entropy_never_falls_below_never_acts():
    bonus = TargetEntropyBonus(target_nats=0.2)
    assert coefficients(Regularizer(entropy_coef=0.01, entropy_bonus=bonus), [0.3] * 4) == [0.0] * 4


def test_what_a_coefficient_of_zero_leaves_out_is_left_out_unless_it_may_rise():
    assert not Regularizer().needs_entropy
    assert not Regularizer(entropy_bonus=DecayingEntropyBonus()).needs_entropy
    assert Regularizer(entropy_coef=0.1, entropy_bonus=DecayingEntropyBonus()).needs_entropy
    assert Regularizer(entropy_bonus=TargetEntropyBonus()).needs_entropy
    assert TargetEntropyBonus().needs_entropy and not StaticEntropyBonus().needs_entropy


def test_the_penalty_takes_the_coefficient_it_is_given():
    batch = dict(logp_BT=jnp.zeros((2, 3)), mask_BT=jnp.ones((2, 3), bool), entropy_BT=jnp.full((2, 3), 5.0))
    regularizer = Regularizer(entropy_coef=0.5)
    np.testing.assert_array_equal(regularizer.token_penalty(**batch), -2.5)
    np.testing.assert_array_equal(regularizer.token_penalty(**batch, entropy_coef=jnp.float32(0.25)), -1.25)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (lambda: DecayingEntropyBonus(decay_steps=0), "decay_steps"),
        (lambda: TargetEntropyBonus(target_nats=0.0), "target_nats"),
        (lambda: Regularizer(entropy_coef=2.0, entropy_bonus=TargetEntropyBonus()), "entropy_coef"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        settings()

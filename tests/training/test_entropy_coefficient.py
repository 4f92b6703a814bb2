"""The entropy coefficient reaches updates as a number: of the right sign, in one program, the same bits."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from entropy_rl.objectives import GroupAdvantage, PPOClip, Regularizer, TargetEntropyBonus
from entropy_rl.training import learner as learning
from entropy_rl.training.layout import Padded
from entropy_rl.training.learner import Learner
from entropy_rl.training.optimizer import AdamW
from entropy_rl.training.step import learn
from tests.policies import TINY, tiny_policy
from tests.training.cases import PROMPTS, SAMPLES, make_batch, make_rollout


def make_learner(regularizer):
    optimizer = AdamW(learning_rate=1e-3)
    return Learner(
        policy=tiny_policy()[0],
        objective=PPOClip(),
        optimizer=optimizer,
        regularizer=regularizer,
        layout=Padded(),
    )


STATIC = make_learner(Regularizer(entropy_coef=0.25))
HOLDING = make_learner(
    Regularizer(entropy_coef=0.25, entropy_bonus=TargetEntropyBonus(target_nats=9.0, step_size=0.125))
)


def updated(learner, batch):
    state, report = learner.update(learner.init(tiny_policy()[1]), batch, jax.random.key(5))
    return state.params, report


@pytest.mark.parametrize("coef", [1.0, -1.0])
def test_with_the_entropy_term_alone_entropy_goes_where_the_sign_of_its_coefficient_says(coef):
    batch = make_batch(TINY.vocab_size, on_policy=True)
    batch = replace(batch, adv_PG=jnp.zeros_like(batch.adv_PG), entropy_coef=jnp.float32(coef))
    params, report = updated(STATIC, batch)
    _, entropy_PGT = STATIC.log_probs(params, batch.rollout)
    mask_PGT = batch.rollout.response_mask_PGT
    change = jnp.mean(entropy_PGT, where=mask_PGT) - jnp.mean(report.entropy_PGT, where=mask_PGT)
    assert coef * change > 1e-3


def test_a_coefficient_that_is_told_gives_the_bits_of_one_that_is_compiled_in():
    batch = make_batch(TINY.vocab_size, on_policy=False)
    compiled_in, _ = updated(STATIC, batch)
    told, _ = updated(STATIC, replace(batch, entropy_coef=jnp.float32(0.25)))
    for one, other in zip(jax.tree.leaves(compiled_in), jax.tree.leaves(told), strict=True):
        np.testing.assert_array_equal(one, other)


def test_another_coefficient_needs_no_other_program():
    batch = make_batch(TINY.vocab_size, on_policy=False)
    updated(STATIC, replace(batch, entropy_coef=jnp.float32(0.25)))
    num_programs = learning._update._cache_size()
    updated(STATIC, replace(batch, entropy_coef=jnp.float32(0.5)))
    assert learning._update._cache_size() == num_programs


def test_a_target_is_told_the_entropy_of_all_mini_batches_before_the_first_update():
    policy, params = tiny_policy()
    rollout, told = make_rollout(TINY.vocab_size), []
    adv_PG = GroupAdvantage()(jax.random.normal(jax.random.key(1), (PROMPTS, SAMPLES)))

    def coefficient(entropy):
        told.append(entropy)
        return 0.125

    _, metrics, _ = learn(
        HOLDING,
        HOLDING.init(params),
        rollout,
        adv_PG,
        jax.random.key(3),
        prompts_per_update=PROMPTS // 2,
        entropy_coef=coefficient,
    )
    assert metrics["guard/entropy_coef"] == 0.125
    np.testing.assert_allclose(told, [metrics["policy/entropy"]], rtol=1e-6)
    assert metrics["passes/old_logp"] == 2 and metrics["passes/saved"] == 0

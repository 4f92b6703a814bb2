"""Groups that wait: exactly the arrays that were put in, on any mesh; empty ones change nothing."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from entropy_rl.objectives import ClipCov, KLCov, Regularizer, SequenceMeanTokenMean, TokenMean
from entropy_rl.parallelism import MeshConfig, batch_sharding
from entropy_rl.training.groups import GroupPool, Groups, gather_groups, spread
from entropy_rl.training.layout import Packed, Padded
from entropy_rl.training.learner import Learner
from entropy_rl.training.optimizer import AdamW
from entropy_rl.training.step import learn
from tests.policies import TINY, tiny_policy
from tests.training.cases import PROMPT_TOKENS, PROMPTS, SAMPLES, TOKENS, make_batch, make_rollout

EIGHT = MeshConfig(data=2, fsdp=2, tensor=2)


def make_groups(rollout, step=1, rows=None) -> Groups:
    """What the host would know of these rows of a rollout, with made up rewards."""
    rows = np.arange(PROMPTS) if rows is None else np.array(rows)
    mask_PGT = np.asarray(rollout.response_mask_PGT)[rows]
    reward_NG = np.asarray(rollout.prompt_id_P, np.float32)[rows, None] / np.float32([3, 7, 11])
    return Groups(
        row_N=rows,
        prompt_id_N=np.asarray(rollout.prompt_id_P, np.int64)[rows],
        step_N=np.full(len(rows), step),
        reward_NG=reward_NG,
        correct_NG=reward_NG > 3,
        length_NG=mask_PGT.sum(axis=2, dtype=np.int32),
    )


def same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize("mesh", [MeshConfig(), EIGHT], ids=["one device", "eight devices"])
def test_a_pool_gives_back_what_was_added_through_any_additions_and_removals(mesh):
    placement = batch_sharding(mesh.build())
    rollouts = [jax.device_put(make_rollout(TINY.vocab_size, seed), placement) for seed in range(3)]
    pool = GroupPool.empty((12, SAMPLES, PROMPT_TOKENS, TOKENS), placement)
    assert len(pool.groups) == 0
    pool = pool.add(rollouts[0], make_groups(rollouts[0], step=1, rows=[2, 3]))
    pool = pool.add(rollouts[1], make_groups(rollouts[1], step=2))
    pool = pool.keep(np.array([0, 5, 3])).add(rollouts[2], make_groups(rollouts[2], step=3, rows=[1]))
    found = gather_groups([pool.rollout], pool.groups.row_N)
    expected = [(rollouts[0], 2), (rollouts[1], 3), (rollouts[1], 1), (rollouts[2], 1)]
    for n, (rollout, row) in enumerate(expected):
        same(jax.tree.map(lambda x, n=n: x[n], found), jax.tree.map(lambda x, row=row: x[row], rollout))
        assert pool.groups.prompt_id_N[n] == rollout.prompt_id_P[row]
    assert pool.groups.step_N.tolist() == [1, 2, 2, 3]
    assert pool.rollout.response_ids_PGT.sharding.is_equivalent_to(placement, 3)


def test_what_the_host_knows_survives_json_exactly():
    groups = make_groups(make_rollout(TINY.vocab_size))
    again = Groups.from_json(json.loads(json.dumps(groups.as_json())))
    for name, column in vars(groups).items():
        assert vars(again)[name].dtype == column.dtype
        np.testing.assert_array_equal(vars(again)[name], column)


@pytest.mark.parametrize(
    ("num_groups", "expected"),
    [
        (6, [0, 1, 2, 3, 4, 5]),
        (4, [0, 1, -1, 2, 3, -1]),  # not 0, 1, 2 and a mini-batch of one
        (5, [0, 1, 2, 3, 4, -1]),
        (3, [0, 1, 2, -1, -1, -1]),
        (1, [0, -1, -1, -1, -1, -1]),
    ],
)
def test_groups_are_spread_evenly_over_as_few_mini_batches_as_hold_them(num_groups, expected):
    assert spread(num_groups, 3, 6).tolist() == expected


LAYOUTS = {
    "padded": Padded(),
    "cut": Padded(num_microbatches=2),
    "packed": Packed(tokens_per_device=24, num_smaller_shapes=1),
}


BOTH_TERMS = Regularizer(kl_coef=0.1, entropy_coef=0.1)


def make_learner(layout, objective, **more) -> Learner:
    """Tests whose learners are equal share what was compiled."""
    policy, optimizer = tiny_policy()[0], AdamW(learning_rate=1e-2)
    return Learner(policy=policy, objective=objective, optimizer=optimizer, layout=layout, **more)


def updated(learner, rollout, adv_PG, prompts_per_update, **more):
    """(parameters, metrics) of updates that begin with the same random policy."""
    state = learner.init(tiny_policy()[1])
    state, metrics, _ = learn(
        learner, state, rollout, adv_PG, jax.random.key(5), prompts_per_update=prompts_per_update, **more
    )
    return state.params, metrics


@pytest.mark.parametrize(
    ("layout", "objective", "aggregation", "regularizer"),
    [
        ("padded", KLCov(fraction=0.1), TokenMean(), Regularizer()),
        pytest.param("padded", KLCov(fraction=0.1), TokenMean(), BOTH_TERMS, marks=pytest.mark.slow),
        pytest.param("cut", KLCov(fraction=0.1), SequenceMeanTokenMean(), BOTH_TERMS, marks=pytest.mark.slow),
        pytest.param(
            "packed", ClipCov(fraction=0.1, cov_low=-1.0), TokenMean(), BOTH_TERMS, marks=pytest.mark.slow
        ),
    ],
)
def test_a_mini_batch_with_empty_groups_is_the_update_of_the_others_alone(
    layout, objective, aggregation, regularizer
):
    learner = make_learner(LAYOUTS[layout], objective, aggregation=aggregation, regularizer=regularizer)
    batch = make_batch(TINY.vocab_size, on_policy=True)
    given = (batch.rollout, batch.adv_PG, batch.ref_logp_PGT if regularizer.needs_reference else None)
    given = jax.device_put(given, batch_sharding(MeshConfig().build()))
    two = jax.tree.map(lambda x: x[:2], given)
    index_P = np.array([0, -1, 1, -1])
    padded = gather_groups([given[0]], index_P)
    adv_PG, ref_logp_PGT = jax.tree.map(lambda x: x[np.maximum(index_P, 0)], given[1:])
    adv_PG = jnp.where(index_P[:, None] < 0, 0.0, adv_PG)
    alone, expected = updated(learner, two[0], two[1], 2, ref_logp_PGT=two[2])
    params, metrics = updated(learner, padded, adv_PG, 4, ref_logp_PGT=ref_logp_PGT)
    # Sums of at most 42 tokens in another order, then AdamW, which divides by the gradient's size.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-5), params, alone)
    assert metrics["selection/selected"] == expected["selection/selected"] > 0
    for name in expected:
        if name.startswith(("covariance/", "selection/", "policy/", "mismatch/", "optimizer/")):
            np.testing.assert_allclose(metrics[name], expected[name], rtol=1e-5, atol=1e-6, err_msg=name)


def test_only_the_first_mini_batches_are_learned_from_and_stale_groups_are_no_mismatch():
    learner = make_learner(Padded(), KLCov(fraction=0.1))
    batch = make_batch(TINY.vocab_size, on_policy=True)
    rollout, adv_PG = jax.device_put((batch.rollout, batch.adv_PG), batch_sharding(MeshConfig().build()))
    logp_PGT, _ = learner.log_probs(tiny_policy()[1], rollout)
    stale_P = np.array([True, False, False, False])
    shifted_PGT = logp_PGT - 0.25 * stale_P[:, None, None]  # the sampler's, of an older policy in group 0
    rollout = replace(rollout, logp_PGT=shifted_PGT)
    _, metrics = updated(learner, rollout, adv_PG, 2, num_updates=1, stale_P=jnp.asarray(stale_P))
    assert metrics["optimizer/updates"] == 1
    assert metrics["mismatch/logp_gap_max"] < 1e-5
    np.testing.assert_allclose(metrics["staleness/logp_gap_mean"], 0.25, atol=1e-5)
    _, metrics = updated(learner, rollout, adv_PG, 2, num_updates=1, stale_P=jnp.ones(4, bool))
    assert np.isnan(metrics["mismatch/logp_gap_mean"])  # not a 0 that would look like a perfect fit

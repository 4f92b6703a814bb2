"""The update: exact under micro-batching and sharding, on-policy identities, skipping, metrics."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from entropy_rl.kernel_choice import Kernels
from entropy_rl.models.parameters import logical_axes
from entropy_rl.models.policy import Policy
from entropy_rl.objectives import (
    K3,
    ClipCov,
    KLCov,
    MicrobatchScope,
    PPOClip,
    Regularizer,
    SequenceMeanTokenMean,
    SequenceMeanTokenSumNorm,
    TokenMean,
)
from entropy_rl.parallelism import MeshConfig, batch_sharding, parameter_shardings
from entropy_rl.training.batch import TokenBatch
from entropy_rl.training.layout import Padded
from entropy_rl.training.learner import Learner
from entropy_rl.training.optimizer import AdamW
from tests.policies import TINY, tiny_policy
from tests.training.cases import PROMPTS, make_batch

CLIP_COV = ClipCov(fraction=0.2, cov_low=0.1, cov_high=5.0)
REGULARIZER = Regularizer(entropy_coef=0.01, kl_coef=0.1, divergence=K3())
SGD_LIKE = AdamW(learning_rate=1e-2, b1=0.0, b2=0.0, eps=1.0, max_grad_norm=1e9)
"""With b1 = b2 = 0 and eps = 1 the update is lr * g / (|g| + 1): parameters show the gradient."""

selecting_objectives = pytest.mark.parametrize(
    "objective",
    [KLCov(fraction=0.2), pytest.param(CLIP_COV, marks=pytest.mark.slow)],
    ids=["KLCov", "ClipCov"],
)


def make_learner(policy, **changes):
    """KL-Cov with every term of the loss, padded; learners that are equal are compiled once."""
    settings = dict(
        policy=policy,
        objective=KLCov(fraction=0.2),
        optimizer=SGD_LIKE,
        regularizer=REGULARIZER,
        layout=Padded(),
    )
    return Learner(**(settings | changes))


def updated(learner, batch, key=None, seed=0):
    """(parameters after one update, report); parameters are made anew, since states are donated."""
    state = learner.init(tiny_policy(seed)[1])
    state, report = learner.update(state, batch, jax.random.key(5) if key is None else key)
    return state.params, report


def with_own_log_probs(learner, batch):
    """The batch with the old log-probs that a first update really has: those of the starting policy."""
    return replace(batch, old_logp_PGT=learner.log_probs(tiny_policy()[1], batch.rollout)[0])


def assert_close(tree, other, atol):
    for one, two in zip(jax.tree.leaves(tree), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(one, two, atol=atol, rtol=0)


@pytest.mark.parametrize(
    ("changes", "cuts"),
    [
        ({}, (4,)),
        pytest.param({}, (2,), marks=pytest.mark.slow),
        pytest.param(
            {"objective": CLIP_COV, "aggregation": SequenceMeanTokenMean()}, (4,), marks=pytest.mark.slow
        ),
        pytest.param(
            {"objective": PPOClip(), "aggregation": SequenceMeanTokenSumNorm()}, (4,), marks=pytest.mark.slow
        ),
    ],
    ids=["KLCov", "KLCov in two", "ClipCov, SequenceMeanTokenMean", "PPOClip, SequenceMeanTokenSumNorm"],
)
@pytest.mark.parametrize("on_policy", [True, False])
def test_one_two_and_four_microbatches_give_the_same_update_and_metrics(changes, cuts, on_policy):
    batch = make_batch(TINY.vocab_size, on_policy=on_policy)
    results = []
    for num_microbatches in (1, *cuts):
        learner = make_learner(tiny_policy()[0], layout=Padded(num_microbatches=num_microbatches), **changes)
        given = with_own_log_probs(learner, batch) if on_policy and learner.needs_first_old_logp else batch
        results.append(updated(learner, given))
    for params, report in results[1:]:
        assert_close(params, results[0][0], atol=2e-7)
        for name, value in report.metrics.items():
            if not name.startswith(("passes/", "update/")):
                np.testing.assert_allclose(value, results[0][1].metrics[name], atol=2e-6, err_msg=name)


@selecting_objectives
def test_the_forward_pass_before_the_gradient_runs_after_the_first_update_only(objective, monkeypatch):
    calls = []
    forward = Policy.response_hidden

    def counted(*args):
        jax.debug.callback(lambda: calls.append(1))
        return forward(*args)

    monkeypatch.setattr(Policy, "response_hidden", counted)
    # A temperature of its own: an equal learner may have been compiled before, without the count.
    learner = make_learner(
        tiny_policy()[0], objective=objective, layout=Padded(num_microbatches=2), temperature=1.125
    )
    for on_policy in (True, False):
        calls.clear()
        _, report = updated(learner, make_batch(TINY.vocab_size, on_policy=on_policy))
        jax.effects_barrier()
        assert len(calls) == (2 if on_policy else 4)  # two micro-batches, once or twice
        assert report.metrics["passes/selection"] == (0 if on_policy else 1)


@pytest.mark.slow
def test_microbatch_scope_selects_more_when_the_batch_is_cut():
    # verl's behaviour (its issue 7829): a floor of one token in each of four parts.
    batch = make_batch(TINY.vocab_size, on_policy=False)
    objective = KLCov(fraction=1e-3, scope=MicrobatchScope())
    selected = []
    for num_microbatches in (1, 4):
        learner = make_learner(
            tiny_policy()[0], objective=objective, layout=Padded(num_microbatches=num_microbatches)
        )
        _, report = updated(learner, batch)
        selected.append(int(report.metrics["selection/selected"]))
        assert report.metrics["policy/clip_fraction_kl_penalty"] > 0
    assert selected == [1, 4]


def test_the_ratio_of_the_first_update_is_exactly_one_whatever_the_old_log_probs_say():
    _, report = updated(make_learner(tiny_policy()[0]), make_batch(TINY.vocab_size, on_policy=True))
    assert report.metrics["policy/ratio_max"] == 1
    assert report.metrics["policy/approx_kl"] == 0
    assert report.metrics["policy/absolute_log_ratio"] == 0


def test_on_policy_kl_cov_is_plain_policy_gradient_and_off_policy_it_is_not():
    policy = tiny_policy()[0]
    for on_policy in (True, False):
        batch = make_batch(TINY.vocab_size, on_policy=on_policy)
        with_penalty, _ = updated(make_learner(policy), batch)
        without, _ = updated(make_learner(policy, objective=KLCov(fraction=0.0)), batch)
        changed = any(
            bool((a != b).any()) for a, b in zip(*map(jax.tree.leaves, (with_penalty, without)), strict=True)
        )
        assert changed != on_policy


def test_on_policy_gradient_is_that_of_reinforce():
    policy, params = tiny_policy()
    batch = make_batch(TINY.vocab_size, on_policy=True)
    learner = make_learner(policy, objective=PPOClip(), regularizer=Regularizer())

    def reinforce(params):
        logp_PGT, _ = learner.log_probs(params, batch.rollout)
        mask_PGT = batch.rollout.response_mask_PGT
        return -jnp.sum(jnp.where(mask_PGT, logp_PGT * batch.adv_PG[..., None], 0)) / mask_PGT.sum()

    norm = optax.tree.norm(jax.jit(jax.grad(reinforce))(params))
    _, report = updated(learner, batch)
    np.testing.assert_allclose(report.metrics["optimizer/grad_norm"], norm, rtol=1e-5)


def test_permuting_the_prompts_changes_nothing():
    batch = make_batch(TINY.vocab_size, on_policy=False)
    order = jnp.array([2, 0, 3, 1])
    permuted = jax.tree.map(lambda x: x[order] if x.ndim else x, batch)
    learner = make_learner(tiny_policy()[0], objective=CLIP_COV, aggregation=SequenceMeanTokenMean())
    (one, first), (two, second) = updated(learner, batch), updated(learner, permuted)
    assert_close(one, two, atol=2e-7)
    assert first.metrics["selection/selected"] == second.metrics["selection/selected"] > 0


def test_what_lies_under_the_padding_changes_nothing():
    batch = make_batch(TINY.vocab_size, on_policy=False)
    rollout = batch.rollout
    noise = jax.random.randint(jax.random.key(8), rollout.response_ids_PGT.shape, 0, TINY.vocab_size)
    changed = replace(
        batch,
        rollout=replace(
            rollout, response_ids_PGT=jnp.where(rollout.response_mask_PGT, rollout.response_ids_PGT, noise)
        ),
        old_logp_PGT=jnp.where(rollout.response_mask_PGT, batch.old_logp_PGT, jnp.nan),
        ref_logp_PGT=jnp.where(rollout.response_mask_PGT, batch.ref_logp_PGT, jnp.nan),
    )
    learner = make_learner(tiny_policy()[0])
    assert_close(updated(learner, batch)[0], updated(learner, changed)[0], atol=1e-7)


def test_a_non_finite_gradient_skips_the_update_and_is_counted():
    learner = make_learner(tiny_policy()[0], objective=PPOClip(), regularizer=Regularizer())
    good = make_batch(TINY.vocab_size, on_policy=True)
    bad = replace(good, adv_PG=good.adv_PG.at[0, 0].set(jnp.nan))
    before = jax.tree.map(np.asarray, tiny_policy()[1])
    state = learner.init(tiny_policy()[1])
    for skipped in (1, 2):
        state, report = learner.update(state, bad, jax.random.key(0))
        assert int(state.num_skipped_in_a_row) == skipped and report.metrics["optimizer/skipped_updates"] == 1
    assert_close(state.params, before, atol=0)
    assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(state.opt_state))
    state, report = learner.update(state, good, jax.random.key(0))
    assert int(state.num_skipped_in_a_row) == 0 and report.metrics["optimizer/skipped_updates"] == 0


def test_an_entropy_bonus_raises_the_entropy_of_the_policy():
    learner = make_learner(
        tiny_policy()[0],
        objective=PPOClip(),
        regularizer=Regularizer(entropy_coef=1.0),
        aggregation=TokenMean(),
    )
    batch = make_batch(TINY.vocab_size, on_policy=True)
    batch = replace(batch, adv_PG=jnp.zeros_like(batch.adv_PG))
    params, report = updated(learner, batch)
    _, entropy_PGT = learner.log_probs(params, batch.rollout)
    mask_PGT = batch.rollout.response_mask_PGT
    assert jnp.mean(entropy_PGT, where=mask_PGT) > jnp.mean(report.entropy_PGT, where=mask_PGT)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mesh_config", "num_microbatches"),
    [
        (MeshConfig(fsdp=2, tensor=3), 1),
        (MeshConfig(data=2), 2),
        (MeshConfig(data=2, fsdp=2), 1),
    ],
    ids=str,
)
def test_a_sharded_update_equals_that_of_one_device_and_keeps_its_shardings(mesh_config, num_microbatches):
    config = replace(TINY, hidden_size=12, intermediate_size=18, vocab_size=24)  # what 2 and 3 divide
    policy, params = tiny_policy(config=config)
    mesh = mesh_config.build()
    kernels = Kernels.of(mesh, config, "float32")
    settings = {"objective": CLIP_COV, "layout": Padded(num_microbatches=num_microbatches)}
    learner = make_learner(kernels.equip(policy), selector=kernels.selector, **settings)
    batch = make_batch(config.vocab_size, on_policy=False)
    shardings = parameter_shardings(mesh, logical_axes(config), params)
    placed = jax.tree.map(lambda x: jax.device_put(x, batch_sharding(mesh)) if x.ndim else x, batch)
    state = learner.init(jax.device_put(params, shardings))
    state, report = learner.update(state, placed, jax.random.key(5))
    learner = make_learner(policy, **settings)
    alone = learner.init(tiny_policy(config=config)[1])
    alone, alone_report = learner.update(alone, batch, jax.random.key(5))
    assert_close(state.params, alone.params, atol=2e-7)
    assert report.metrics["selection/selected"] == alone_report.metrics["selection/selected"] > 0
    for leaf, sharding in zip(jax.tree.leaves(state.params), jax.tree.leaves(shardings), strict=True):
        assert leaf.sharding.is_equivalent_to(sharding, leaf.ndim)


@selecting_objectives
def test_one_two_four_and_eight_microbatches_select_the_same_tokens(objective):
    batch = make_batch(TINY.vocab_size, on_policy=False)
    twice = jax.tree.map(lambda x: jnp.concatenate([x, x[::-1]]) if x.ndim else x, batch)
    rollout = replace(twice.rollout, prompt_id_P=jnp.arange(2 * PROMPTS))
    tokens = TokenBatch.of(replace(twice, rollout=rollout), TokenMean())
    learner = make_learner(tiny_policy()[0], objective=objective)
    select = jax.jit(
        lambda logp_BT: tokens.select(objective, learner.selector, logp_BT, jax.random.key(5)).selected_BT
    )
    masks = []
    for num_microbatches in (1, 2, 4, 8):
        cut = replace(learner, layout=Padded(num_microbatches=num_microbatches))
        logp_PGT, _ = cut.log_probs(tiny_policy()[1], rollout)
        masks.append(np.asarray(select(logp_PGT.reshape(tokens.mask_BT.shape))))
    assert masks[0].any()
    for mask in masks[1:]:
        np.testing.assert_array_equal(mask, masks[0])


def test_a_minibatch_that_cannot_be_cut_evenly_is_refused():
    with pytest.raises(ValueError, match="micro-batches"):
        updated(
            make_learner(tiny_policy()[0], layout=Padded(num_microbatches=3)),
            make_batch(TINY.vocab_size, on_policy=True),
        )
    assert PROMPTS % 3

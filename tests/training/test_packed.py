"""Updates on packed rows: those of padded rows, whatever the budget, the lengths and the mesh."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from entropy_rl.kernel_choice import Kernels
from entropy_rl.models.parameters import logical_axes
from entropy_rl.objectives import (
    K3,
    ClipCov,
    KLCov,
    MicrobatchScope,
    PPOClip,
    Regularizer,
    SequenceMeanTokenMean,
)
from entropy_rl.parallelism import MeshConfig, batch_sharding, parameter_shardings
from entropy_rl.training.layout import Packed, Padded
from entropy_rl.training.learner import Learner, _update
from entropy_rl.training.optimizer import AdamW
from entropy_rl.training.step import learn
from tests.policies import TINY, tiny_policy
from tests.training.cases import PROMPT_TOKENS, PROMPTS, SAMPLES, TOKENS, make_batch, make_rollout

DIVISIBLE = replace(TINY, hidden_size=12, intermediate_size=18, vocab_size=22, num_heads=4, num_kv_heads=2)
"""What a mesh of 2 x 2 x 2 can cut."""
SHOWS_GRADIENT = AdamW(learning_rate=1.0, b1=0.0, b2=0.0, eps=1.0, max_grad_norm=1e9)
"""With b1 = b2 = 0 and eps = 1 the update is g / (|g| + 1): parameters show the gradient."""
ROW = PROMPT_TOKENS + TOKENS
SMALL = Packed(tokens_per_device=2 * ROW, num_smaller_shapes=1)  # (R, C) of (2, 12) and (1, 12)
SMALLER = replace(SMALL, num_smaller_shapes=3)  # and of (1, 3) and (1, 1)
WHOLE_ROWS = Packed(tokens_per_device=3 * 31, tokens_per_row=31, num_smaller_shapes=0)
CLIP_COV = ClipCov(fraction=0.2, cov_low=0.1)


def make_learner(layout, policy=None, **changes) -> Learner:
    """KL-Cov with every term of the loss."""
    settings = dict(
        policy=policy or tiny_policy()[0],
        objective=KLCov(fraction=0.2),
        optimizer=SHOWS_GRADIENT,
        regularizer=Regularizer(entropy_coef=0.01, kl_coef=0.1, divergence=K3()),
        layout=layout,
    )
    return Learner(**(settings | changes))


def updated(learner, batch, config=TINY, place=lambda params: params):
    """(parameters after one update, report); parameters are made anew, since states are donated."""
    state = learner.init(place(tiny_policy(config=config)[1]))
    state, report = learner.update(state, batch, jax.random.key(5))
    return state.params, report


def under_mask(rollout, x_PGT):
    return np.where(rollout.response_mask_PGT, x_PGT, 0)


def assert_same_update(learner, batch, padded, **options):
    """Losses, gradients, log-probs, entropies and metrics to 1e-5, and exactly the same tokens."""
    (params, report), (expected, expected_report) = updated(learner, batch, **options), padded
    for one, two in zip(jax.tree.leaves(params), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5, rtol=0)
    for name in ("logp_PGT", "entropy_PGT"):
        pair = (under_mask(batch.rollout, getattr(x, name)) for x in (report, expected_report))
        np.testing.assert_allclose(*pair, atol=1e-5, err_msg=name)
    for name, value in report.metrics.items():
        if not name.startswith(("passes/", "update/")):
            np.testing.assert_allclose(
                value, expected_report.metrics[name], rtol=1e-5, atol=1e-5, err_msg=name
            )
    np.testing.assert_array_equal(report.selected_PGT, expected_report.selected_PGT)
    assert report.selected_PGT.sum() == report.metrics["selection/selected"]


SEQUENCE_MEAN = {"objective": CLIP_COV, "aggregation": SequenceMeanTokenMean()}
CASES = [
    pytest.param(changes, layout, marks=[] if (changes, layout) == ({}, SMALL) else pytest.mark.slow)
    for changes in ({}, SEQUENCE_MEAN, {"objective": PPOClip()})
    for layout in (SMALL, SMALLER, WHOLE_ROWS, Packed())
]


@pytest.mark.parametrize(("changes", "layout"), CASES)
def test_a_packed_update_is_the_padded_one_first_and_later(changes, layout):
    padded, packed = make_learner(Padded(), **changes), make_learner(layout, **changes)
    for on_policy in (True, False):
        batch = make_batch(TINY.vocab_size, on_policy=on_policy)
        if packed.needs_first_old_logp and on_policy:
            batch = replace(batch, old_logp_PGT=packed.log_probs(tiny_policy()[1], batch.rollout)[0])
        assert_same_update(packed, batch, updated(padded, batch))


@pytest.mark.parametrize(
    "objective",
    [CLIP_COV, *(pytest.param(x, marks=pytest.mark.slow) for x in (KLCov(fraction=0.2), PPOClip()))],
)
def test_on_a_mesh_a_packed_update_is_that_of_one_device_and_lies_on_all_of_them(objective):
    policy, params = tiny_policy(config=DIVISIBLE)
    mesh = MeshConfig(data=2, fsdp=2, tensor=2).build()
    kernels = Kernels.of(mesh, DIVISIBLE, "float32", packed=True)
    layout = Packed(tokens_per_device=ROW, num_smaller_shapes=1)
    settings = {"objective": objective, "selector": kernels.selector}
    learner = make_learner(layout, kernels.equip(policy), **settings)
    batch = make_batch(DIVISIBLE.vocab_size, on_policy=False)
    expected = updated(make_learner(Padded(), policy, objective=objective), batch, DIVISIBLE)
    placed = jax.tree.map(lambda x: jax.device_put(x, batch_sharding(mesh)) if x.ndim else x, batch)
    shardings = parameter_shardings(mesh, logical_axes(DIVISIBLE), params)
    for index_MRC in learner.packing(placed.rollout).index:
        assert {shard.data.shape[1] for shard in index_MRC.addressable_shards} == {1}  # of 4 rows
    assert_same_update(
        learner, placed, expected, config=DIVISIBLE, place=lambda params: jax.device_put(params, shardings)
    )
    state, _ = learner.update(learner.init(jax.device_put(params, shardings)), placed, jax.random.key(5))
    for leaf, sharding in zip(jax.tree.leaves(state.params), jax.tree.leaves(shardings), strict=True):
        assert leaf.sharding.is_equivalent_to(sharding, leaf.ndim)


def test_log_probs_of_packed_rows_are_those_of_padded_ones_and_zero_under_padding():
    rollout, params = make_rollout(TINY.vocab_size), tiny_policy()[1]
    for packed, padded in zip(
        *(make_learner(layout).log_probs(params, rollout) for layout in (SMALL, Padded())), strict=True
    ):
        np.testing.assert_allclose(packed, under_mask(rollout, padded), atol=1e-5)
        assert (packed[~rollout.response_mask_PGT] == 0).all()


def test_one_program_serves_rollouts_of_any_lengths():
    learner, sizes, counts = make_learner(SMALL), [], []
    for most in (TOKENS, 2, 1):
        batch = make_batch(TINY.vocab_size, on_policy=False, seed=most)
        mask_PGT = batch.rollout.response_mask_PGT & (jnp.arange(TOKENS) < most)[None, None]
        rollout = replace(batch.rollout, response_mask_PGT=mask_PGT)
        _, report = updated(learner, replace(batch, rollout=rollout))
        counts.append(int(report.metrics["update/microbatches"]))
        sizes.append(_update._cache_size())
    assert sizes[0] == sizes[-1] > 0
    assert len(set(counts)) > 1


def test_tokens_under_the_padding_change_nothing():
    batch = make_batch(TINY.vocab_size, on_policy=False)
    rollout = batch.rollout
    noise_PS, noise_PGT = (
        jax.random.randint(jax.random.key(8), x.shape, 0, TINY.vocab_size, jnp.int32)
        for x in (rollout.prompt_ids_PS, rollout.response_ids_PGT)
    )
    mask_PGT = rollout.response_mask_PGT
    changed = replace(
        batch,
        rollout=replace(
            rollout,
            prompt_ids_PS=jnp.where(rollout.prompt_mask_PS, rollout.prompt_ids_PS, noise_PS),
            response_ids_PGT=jnp.where(mask_PGT, rollout.response_ids_PGT, noise_PGT),
        ),
        old_logp_PGT=jnp.where(mask_PGT, batch.old_logp_PGT, jnp.nan),
        ref_logp_PGT=jnp.where(mask_PGT, batch.ref_logp_PGT, jnp.nan),
    )
    learner = make_learner(SMALL)
    pairs = zip(*(jax.tree.leaves(updated(learner, x)[0]) for x in (batch, changed)), strict=True)
    assert all(bool((one == two).all()) for one, two in pairs)


def test_responses_without_a_token_are_not_run_and_count_for_nothing():
    batch = make_batch(TINY.vocab_size, on_policy=False)
    mask_PGT = batch.rollout.response_mask_PGT.at[1].set(False).at[2, 0].set(False)
    batch = replace(batch, rollout=replace(batch.rollout, response_mask_PGT=mask_PGT))
    assert_same_update(make_learner(SMALL), batch, updated(make_learner(Padded()), batch))
    nothing = replace(batch, rollout=replace(batch.rollout, response_mask_PGT=jnp.zeros_like(mask_PGT)))
    _, report = updated(make_learner(SMALL), nothing)
    assert report.metrics["update/microbatches"] == report.metrics["update/padding_fraction"] == 0
    assert report.metrics["optimizer/loss"] == report.metrics["optimizer/grad_norm"] == 0


@pytest.mark.slow
def test_in_verls_scope_each_micro_batch_chooses_for_itself():
    objective = KLCov(fraction=1e-3, scope=MicrobatchScope())  # a floor of one token each
    learner = make_learner(SMALL, objective=objective)
    _, report = updated(learner, make_batch(TINY.vocab_size, on_policy=False))
    metrics = report.metrics
    assert metrics["selection/selected"] == metrics["update/microbatches"] > 1
    assert metrics["policy/clip_fraction_kl_penalty"] > 0
    assert metrics["passes/selection"] == 0


@pytest.mark.slow
def test_the_padding_of_a_step_is_what_one_counts_by_hand():
    # Every sequence of 5 + 7 - 1 slots in a row of 12; so each update of 2 prompts x 3 samples has 6 rows.
    rollout = make_rollout(TINY.vocab_size)
    full = [jnp.ones_like(x) for x in (rollout.prompt_mask_PS, rollout.response_mask_PGT)]
    rollout = replace(rollout, prompt_mask_PS=full[0], response_mask_PGT=full[1])
    assert (PROMPTS, SAMPLES, ROW) == (4, 3, 12)
    # Padded, 2 prompts of 5 run once and 6 rows of 7 - 1 follow them: all of it tokens.
    for layout, microbatches, fraction in ((SMALL, 2 * 3, 1 / 12), (Padded(), 2, 0)):
        learner = make_learner(layout, objective=PPOClip(), regularizer=Regularizer())
        state, adv_PG = learner.init(tiny_policy()[1]), jnp.ones((PROMPTS, SAMPLES))
        _, metrics, _ = learn(learner, state, rollout, adv_PG, jax.random.key(3), prompts_per_update=2)
        assert metrics["update/microbatches"] == microbatches
        np.testing.assert_allclose(metrics["update/padding_fraction"], fraction, rtol=1e-6)


def test_padding_of_padded_rows_is_counted_with_prompts_run_once():
    rollout = make_rollout(TINY.vocab_size)
    num_prompt_P = np.asarray(rollout.prompt_mask_PS).sum(axis=1)
    num_PG = np.asarray(rollout.response_mask_PGT).sum(axis=2)
    num_slots = PROMPTS * PROMPT_TOKENS + PROMPTS * SAMPLES * (TOKENS - 1)
    load = Padded(num_microbatches=2).load(rollout, None)
    expected = 1 - (num_prompt_P.sum() + (num_PG - 1).sum()) / num_slots
    np.testing.assert_allclose(load["update/padding_fraction"], expected, rtol=1e-6)
    assert load["update/microbatches"] == 2


@pytest.mark.parametrize(
    ("layout", "slots"),
    [(Packed(), 256), (Packed(tokens_per_row=999), 999), (Packed(tokens_per_device=256), 256)],
)
def test_a_row_holds_the_longest_sequence_in_whole_lanes_or_as_it_is_told(layout, slots):
    assert layout.row_slots(200) == slots
    assert Packed().row_slots(128) == 128 and Packed().row_slots(97) == 97


@pytest.mark.parametrize("layout", [Packed(tokens_per_device=255), Packed(tokens_per_row=199)], ids=str)
def test_rows_that_do_not_fit_are_refused(layout):
    with pytest.raises(ValueError, match="a packed row must hold the longest prompt and response"):
        layout.row_slots(200)

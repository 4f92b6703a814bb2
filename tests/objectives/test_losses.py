import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.pallas import tpu as pltpu
from jax.test_util import check_grads

from entropy_rl.objectives import ClipCov, KLCov, MicrobatchScope, PPOClip, TokenMean
from pallas_kernels.covariance_selection import CovarianceSelector, MosaicHistogram, TokenIdentity
from pallas_kernels.sharding import Shards

from . import references
from .batches import golden_batch, gradient, indices, mean_loss, random_batch, select, token_loss

OBJECTIVES = {
    "ppo": PPOClip(eps_high=0.28, dual_clip=1.5),
    "clip_cov": ClipCov(fraction=0.2, cov_low=0.1, cov_high=2.0, eps_low=0.3, eps_high=0.4),
    "kl_cov": KLCov(fraction=0.2, penalty_coef=0.7),
}
every_objective = pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
selecting_objectives = pytest.mark.parametrize("objective", [OBJECTIVES["clip_cov"], OBJECTIVES["kl_cov"]])


def some_tokens(batch):
    return batch.mask & jax.random.bernoulli(jax.random.key(1), 0.3, batch.mask.shape)


# Goldens. With d = logp - old_logp the ratios of the golden batch are
# row 0: e^.02 = 1.020201, e^-.1 = 0.904837, 1, e^.2 = 1.221403; row 1: 1, e^-.5 = 0.606531, e^-.2 = 0.818731.


def test_golden_ppo_clip():
    # 1.2214 > 1.2 at A > 0 and 0.6065 < 0.8 at A < 0 are clipped:
    # 0.9354 (-1.020201 - 0.904837 - 1 - 1.2 + 1 + 0.8 + 0.818731) / 7 = -0.201286.
    batch, objective = golden_batch(), PPOClip()
    nothing = jnp.zeros_like(batch.mask)
    np.testing.assert_allclose(mean_loss(objective, batch, nothing), -0.201286, atol=1e-6)
    causes = objective.clip_causes(**batch.arguments(), selected_BT=nothing)
    assert {cause: indices(hit) for cause, hit in causes.items()} == {
        "clip_high": {(0, 3)},
        "clip_low": {(1, 1)},
        "dual": set(),
    }


def test_the_golden_covariances():
    # mean A = (4 - 3) * 0.9354 / 7 = 0.133629;
    # mean logp = -(0.10 + 2.50 + 0.05 + 0.70 + 0.20 + 4.00 + 1.20) / 7 = -1.25;
    # entry (0, 0) = (0.9354 - 0.133629) * (-0.10 + 1.25) = 0.922037.
    expected = [[0.922037, -1.002214, 0.962126, 0.440974], [-1.122480, 2.939829, -0.053451, 0]]
    for objective in OBJECTIVES.values():
        np.testing.assert_allclose(select(objective, golden_batch()).covariance_BT, expected, atol=2e-6)


def test_golden_clip_cov():
    # Only (1, 1), of covariance 2.94, lies in (1, 5); floor(2e-4 * 7) = 0 tokens, but at least one:
    # 0.9354 (-1.020201 - 0.904837 - 1 - 1.221403 + 1 + 0 + 0.818731) / 7 = -0.311049.
    batch, objective = golden_batch(), ClipCov(scope=MicrobatchScope())
    selection = select(objective, batch)
    assert indices(selection.selected_BT) == indices(selection.candidate_BT) == {(1, 1)}
    assert selection.quota == 1 and selection.num_candidates == 1
    np.testing.assert_allclose(mean_loss(objective, batch, selection.selected_BT), -0.311049, atol=1e-6)
    causes = objective.clip_causes(**batch.arguments(), selected_BT=selection.selected_BT)
    assert {cause: indices(hit) for cause, hit in causes.items()} == {
        "clip_high": set(),
        "clip_low": set(),
        "cov": {(1, 1)},
    }


def test_golden_kl_cov():
    # floor(0.3 * 7) = 2 tokens: covariances 2.94 at (1, 1) and 0.96 at (0, 2), |d| = 0.5 and 0:
    # (0.9354 (-1.020201 - 0.904837 - 1 - 1.221403 + 1 + 0.606531 + 0.818731) + 0.5) / 7 = -0.158570.
    batch, objective = golden_batch(), KLCov(fraction=0.3)
    selection = select(objective, batch)
    assert indices(selection.selected_BT) == {(1, 1), (0, 2)}
    assert selection.quota == 2 and selection.num_candidates == 7
    np.testing.assert_allclose(mean_loss(objective, batch, selection.selected_BT), -0.158570, atol=1e-6)
    causes = objective.clip_causes(**batch.arguments(), selected_BT=selection.selected_BT)
    assert {cause: indices(hit) for cause, hit in causes.items()} == {"kl_penalty": {(1, 1), (0, 2)}}


@every_objective
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("seed", range(3))
def test_token_losses_equal_the_reference(objective, dtype, seed):
    batch = random_batch(seed, dtype)
    selected = some_tokens(batch)

    def loss(d, adv, chosen):
        if isinstance(objective, KLCov):
            return references.kl_cov(d, adv, chosen, penalty_coef=objective.penalty_coef)
        window = {"eps_low": objective.eps_low, "eps_high": objective.eps_high}
        if isinstance(objective, ClipCov):
            return references.clip_cov(d, adv, chosen, **window)
        return references.ppo_clip(d, adv, dual_clip=objective.dual_clip, **window)

    expected = np.zeros(batch.mask.shape)
    for i, t in references.tokens(batch.mask):
        d = float(batch.logp[i, t]) - float(batch.old_logp[i, t])
        expected[i, t] = loss(d, float(batch.adv[i, t]), bool(selected[i, t]))
    got = token_loss(objective, batch, selected)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, expected, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_selections_equal_the_reference(seed, key):
    batch, ids = random_batch(seed), jnp.arange(7)
    num_tokens = int(batch.mask.sum())
    kl_cov, clip_cov = OBJECTIVES["kl_cov"], OBJECTIVES["clip_cov"]
    k = references.quota(0.2, num_tokens, at_least_one=False)

    score = np.full(batch.mask.shape, -np.inf)
    for index, value in references.covariance(batch.adv, batch.logp, batch.mask).items():
        score[index] = value
    assert indices(select(kl_cov, batch).selected_BT) == references.largest(score, batch.mask, k, ids)

    window = {"cov_low": 0.1, "cov_high": 2.0, "eps_low": 0.3, "eps_high": 0.4}
    arrays = (np.asarray(array, np.float64) for array in (batch.adv, batch.logp, batch.old_logp))
    candidates = references.clip_cov_candidates(*arrays, batch.mask, **window)
    selection = select(clip_cov, batch, key=key)
    assert indices(selection.candidate_BT) == candidates
    assert selection.num_candidates == len(candidates) and selection.quota == k
    drawn = references.uniform(np.asarray(selection.candidate_BT), k, ids, key)
    assert indices(selection.selected_BT) == drawn


def test_tokens_the_ratio_clips_are_no_candidates_for_clip_cov():
    # Both tokens of the middle row have covariance (-1 + 1/3)(-4 + 2) > 1, but one has r = e^-1 < 0.7.
    mask = jnp.ones((3, 2), bool)
    batch = random_batch()._replace(mask=mask, adv=jnp.array([[0.0, 0.0], [-1.0, -1.0], [0.0, 0.0]]))
    logp = jnp.array([[-1.0, -1.0], [-4.0, -4.0], [-1.0, -1.0]])
    batch = batch._replace(logp=logp, old_logp=logp.at[1, 0].add(1.0))
    assert indices(select(ClipCov(eps_low=0.3), batch).candidate_BT) == {(1, 1)}


# Limits and identities


@every_objective
def test_on_policy_the_gradient_is_that_of_reinforce(objective):
    batch = random_batch()
    batch = batch._replace(old_logp=batch.logp)
    nothing = jnp.zeros_like(batch.mask)
    expected = -batch.adv * TokenMean().weights(batch.mask)
    np.testing.assert_allclose(gradient(objective, batch, nothing), expected, rtol=1e-6)


def test_kl_cov_with_zero_fraction_is_the_plain_policy_gradient():
    batch = random_batch()
    selection = select(KLCov(fraction=0.0), batch)
    assert not selection.selected_BT.any()
    expected = jnp.where(batch.mask, -batch.adv * jnp.exp(batch.logp - batch.old_logp), 0)
    np.testing.assert_allclose(token_loss(KLCov(), batch, selection.selected_BT), expected, rtol=1e-6)


def test_clip_cov_with_zero_fraction_is_ppo_clip():
    batch = random_batch()
    window = {"eps_low": 0.2, "eps_high": 0.28}
    objective = ClipCov(fraction=0.0, **window)
    selected = select(objective, batch).selected_BT
    expected = token_loss(PPOClip(dual_clip=None, **window), batch, selected)
    np.testing.assert_allclose(token_loss(objective, batch, selected), expected, rtol=1e-6)


def test_a_fraction_of_one_selects_every_candidate():
    batch = random_batch()
    assert jnp.array_equal(select(KLCov(fraction=1.0), batch).selected_BT, batch.mask)
    selection = select(ClipCov(fraction=1.0, cov_low=0.1), batch)
    assert selection.num_candidates > 0
    assert jnp.array_equal(selection.selected_BT, selection.candidate_BT)


def test_ppo_clip_selects_nothing_but_reports_the_covariance():
    batch = random_batch()
    selection = select(PPOClip(), batch)
    assert not selection.selected_BT.any() and selection.quota == 0
    assert jnp.array_equal(selection.covariance_BT, select(KLCov(), batch).covariance_BT)
    assert [objective.needs_selection for objective in OBJECTIVES.values()] == [False, True, True]


def test_the_dual_clip_bounds_the_loss_and_stops_the_gradient_of_negative_advantages():
    batch = golden_batch()._replace(old_logp=golden_batch().logp - jnp.log(3.0))  # every ratio is 3
    nothing = jnp.zeros_like(batch.mask)
    with_bound, without = PPOClip(dual_clip=2.0), PPOClip(dual_clip=None)
    np.testing.assert_allclose(token_loss(with_bound, batch, nothing)[1, :3], 0.9354 * 2, rtol=1e-6)
    np.testing.assert_allclose(token_loss(without, batch, nothing)[1, :3], 0.9354 * 3, rtol=1e-6)
    assert (
        not gradient(with_bound, batch, nothing)[1].any() and gradient(without, batch, nothing)[1, :3].all()
    )
    causes = with_bound.clip_causes(**batch.arguments(), selected_BT=nothing)
    assert indices(causes["dual"]) == {(1, 0), (1, 1), (1, 2)}
    assert set(without.clip_causes(**batch.arguments(), selected_BT=nothing)) == {"clip_high", "clip_low"}


def test_ppo_clip_clamps_the_log_ratio_and_the_covariance_objectives_do_not():
    batch = golden_batch()._replace(old_logp=golden_batch().logp - 30.0)
    nothing = jnp.zeros_like(batch.mask)
    for objective, d in ((PPOClip(dual_clip=None), 20.0), (ClipCov(), 30.0), (KLCov(), 30.0)):
        loss = token_loss(objective, batch, nothing)[1, 0]
        np.testing.assert_allclose(loss, 0.9354 * math.exp(d), rtol=1e-5)


# Gradients


def test_the_kl_cov_penalty_has_no_gradient_in_the_first_update_and_full_size_from_the_second():
    batch = golden_batch()
    selected = jnp.zeros_like(batch.mask).at[0, 1].set(True).at[1, 1].set(True)
    weak, strong = KLCov(penalty_coef=0.0), KLCov(penalty_coef=0.7)

    def penalty_gradient(old_logp):
        moved = batch._replace(old_logp=old_logp)
        return gradient(strong, moved, selected) - gradient(weak, moved, selected)

    assert not penalty_gradient(batch.logp).any()
    # d is -0.1 and -0.5 there: 0.7 * sign(d) / 7 tokens = -0.1.
    expected = jnp.where(selected, -0.1, 0)
    np.testing.assert_allclose(penalty_gradient(batch.old_logp), expected, atol=1e-7)


def test_clip_cov_takes_the_gradient_of_selected_tokens_and_leaves_the_denominator():
    batch = golden_batch()
    selected = jnp.zeros_like(batch.mask).at[1, 1].set(True)
    plain = gradient(ClipCov(), batch, jnp.zeros_like(selected))
    assert jnp.array_equal(gradient(ClipCov(), batch, selected), jnp.where(selected, 0, plain))


@every_objective
def test_gradients_equal_finite_differences_in_float64(objective):
    with jax.enable_x64(True):
        batch = random_batch(dtype=jnp.float64)
        selected = some_tokens(batch)
        assert token_loss(objective, batch, selected).dtype == jnp.float64

        def loss(logp):
            return mean_loss(objective, batch._replace(logp=logp), selected)

        check_grads(loss, (batch.logp,), order=1, modes=["rev"], atol=1e-8, rtol=1e-7)


@every_objective
@pytest.mark.parametrize("poison", [jnp.nan, -jnp.inf])
def test_nothing_under_the_mask_leaks(objective, poison):
    clean, dirty = random_batch(), random_batch(poison=poison)
    expected, got = select(objective, clean), select(objective, dirty)
    for name in ("selected_BT", "candidate_BT", "covariance_BT", "quota"):
        assert jnp.array_equal(getattr(got, name), getattr(expected, name))
    selected = expected.selected_BT
    assert jnp.array_equal(token_loss(objective, dirty, selected), token_loss(objective, clean, selected))
    assert jnp.array_equal(gradient(objective, dirty, selected), gradient(objective, clean, selected))
    for hit in objective.clip_causes(**dirty.arguments(), selected_BT=selected).values():
        assert not (hit & ~dirty.mask).any()


@every_objective
def test_tokens_that_are_not_finite_are_left_out_and_counted(objective):
    batch = random_batch()
    broken = jnp.zeros_like(batch.mask).at[0, 3].set(True).at[5, 7].set(True)
    clean = select(objective, batch._replace(mask=batch.mask & ~broken))
    dirty = batch._replace(logp=batch.logp.at[0, 3].set(-jnp.inf), adv=batch.adv.at[5, 7].set(jnp.nan))
    selection = select(objective, dirty)
    assert selection.num_nonfinite == 2 and clean.num_nonfinite == 0
    assert jnp.array_equal(jnp.isnan(selection.covariance_BT), broken)
    assert clean.quota == selection.quota  # 7 of 37 tokens, and of 35
    for name in ("selected_BT", "candidate_BT"):
        assert jnp.array_equal(getattr(selection, name), getattr(clean, name))
    assert selection.covariance == clean.covariance


@every_objective
def test_an_empty_batch_selects_nothing_and_has_zero_loss_and_gradient(objective):
    batch = random_batch(poison=jnp.nan)
    batch = batch._replace(mask=jnp.zeros_like(batch.mask))
    selection = select(objective, batch)
    assert not selection.selected_BT.any() and selection.quota == 0
    assert mean_loss(objective, batch, selection.selected_BT) == 0
    assert not gradient(objective, batch, selection.selected_BT).any()


def test_a_selected_token_whose_ratio_overflows_has_zero_gradient_under_clip_cov():
    batch = golden_batch()._replace(old_logp=golden_batch().old_logp.at[1, 1].set(-1000.0))
    selected = jnp.zeros_like(batch.mask).at[1, 1].set(True)
    assert jnp.isfinite(gradient(ClipCov(), batch, selected)).all()


# Scope: what is selected does not depend on where it lies


@selecting_objectives
def test_selection_follows_the_sequences_through_any_permutation(objective):
    batch, ids = random_batch(), jnp.array([31, 14, 17, 5, 2, 11, 3])
    selected = select(objective, batch, ids).selected_BT
    for seed in range(3):
        order = jax.random.permutation(jax.random.key(seed), 7)
        assert jnp.array_equal(select(objective, batch[order], ids[order]).selected_BT, selected[order])


@selecting_objectives
@pytest.mark.parametrize(
    "axis_type",
    [jax.sharding.AxisType.Auto, pytest.param(jax.sharding.AxisType.Explicit, marks=pytest.mark.slow)],
)
def test_selection_and_gradient_are_the_same_on_seven_devices(objective, axis_type):
    batch, ids = random_batch(), jnp.arange(7)
    expected = select(objective, batch, ids)
    mesh = jax.make_mesh((7,), ("data",), axis_types=(axis_type,), devices=jax.devices()[:7])
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    selector = CovarianceSelector(shards=Shards(mesh=mesh, tokens=("data",)))
    with jax.set_mesh(mesh):
        sharded, sharded_ids = jax.device_put((batch, ids), rows)
        got = select(objective, sharded, sharded_ids, selector=selector)
        slopes = gradient(objective, sharded, got.selected_BT)
    assert np.array_equal(got.selected_BT, expected.selected_BT)
    assert got.quota == expected.quota and got.num_candidates == expected.num_candidates
    np.testing.assert_allclose(slopes, gradient(objective, batch, expected.selected_BT), rtol=1e-5, atol=1e-8)


@selecting_objectives
def test_a_choice_on_a_mesh_may_stand_inside_a_gradient(objective):
    batch, ids = random_batch(), jnp.arange(7)
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:7]), ("data",))
    interpreter = MosaicHistogram(block_tokens=128, interpret=pltpu.InterpretParams())
    selector = CovarianceSelector(histogram=interpreter, shards=Shards(mesh=mesh, tokens=("data",)))

    @jax.jit
    def slope(logp):
        def loss(logp):
            moved = batch._replace(logp=logp)
            chosen = objective.select(
                **moved.arguments(),
                identity=TokenIdentity.of_rows(ids, batch.mask.shape[1]),
                key=jax.random.key(0),
                selector=selector,
            )
            return mean_loss(objective, moved, chosen.selected_BT), chosen.selected_BT

        return jax.grad(loss, has_aux=True)(logp)

    got, selected = slope(batch.logp)
    assert jnp.array_equal(selected, select(objective, batch).selected_BT)
    np.testing.assert_allclose(got, gradient(objective, batch, selected), rtol=1e-5, atol=1e-8)


@every_objective
def test_objectives_are_hashable_and_equal_by_value(objective):
    assert hash(objective) == hash(type(objective)(**vars(objective)))
    assert objective == type(objective)(**vars(objective))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: KLCov(fraction=2.0), "must lie in"),
        (lambda: ClipCov(fraction=-0.1), "must lie in"),
        (lambda: ClipCov(cov_low=5.0, cov_high=1.0), "cov_low must be below cov_high"),
        (lambda: ClipCov(eps_low=-0.1), "must not be negative"),
        (lambda: PPOClip(eps_high=-0.1), "must not be negative"),
        (lambda: PPOClip(dual_clip=1.0), "dual_clip must be above 1"),
        (lambda: KLCov(penalty_coef=-1.0), "penalty_coef must not be negative"),
    ],
)
def test_a_setting_out_of_range_is_an_error_that_says_so(make, message):
    with pytest.raises(ValueError, match=message):
        make()

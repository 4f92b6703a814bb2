import jax
import jax.numpy as jnp
import numpy as np
import pytest

from entropy_rl.objectives import (
    KLCov,
    MicrobatchScope,
    clip_fractions,
    entropy_metrics,
    ratio_metrics,
    selection_metrics,
)

from .batches import golden_batch, random_batch, select


def as_floats(metrics):
    return {name: float(value) for name, value in metrics.items()}


def test_golden_selection_metrics():
    # Ascending: -1.122480, -1.002214, -0.053451, 0.440974, 0.922037, 0.962126, 2.939829; entry floor(6 q).
    batch = golden_batch()
    got = jax.jit(selection_metrics)(select(KLCov(fraction=0.3), batch), batch.mask)
    expected = {
        "covariance/mean": 0.440974,
        "covariance/min": -1.122480,
        "covariance/q50": 0.440974,
        "covariance/q90": 0.962126,
        "covariance/q99": 0.962126,
        "covariance/q999": 0.962126,
        "covariance/max": 2.939829,
        # The largest one of 7, and of the upper half three: 2.939829 + 0.962126 + 0.922037 = 4.823992.
        "covariance/top_0.02_percent": 2.939829,
        "covariance/top_0.2_percent": 2.939829,
        "covariance/top_2_percent": 2.939829,
        "covariance/top_20_percent": 2.939829,
        "covariance/top_50_percent": 4.823992 / 3,
        "selection/candidates": 7,
        "selection/quota": 2,
        "selection/selected": 2,
        "selection/selected_fraction": 2 / 7,
        "selection/selected_positive_advantage": 1,
        "selection/selected_negative_advantage": 1,
        "selection/nonfinite_tokens": 0,
    }
    assert set(got) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, atol=2e-6, err_msg=name)


def test_parts_of_a_batch_report_on_the_whole():
    batch = random_batch()
    objective = KLCov(fraction=0.2, scope=MicrobatchScope())
    parts = [select(objective, batch[rows]) for rows in (slice(0, 4), slice(4, 7))]
    joined = jax.tree.map(lambda *x: jnp.concatenate(x) if x[0].ndim else sum(x), *parts)
    got = jax.jit(selection_metrics)(joined, batch.mask)
    covariance_N = np.asarray(joined.covariance_BT)[np.asarray(batch.mask)]
    assert got["covariance/max"] == covariance_N.max() and got["covariance/min"] == covariance_N.min()
    assert got["covariance/q50"] == np.quantile(covariance_N, 0.5, method="lower")
    top_N = np.sort(covariance_N)[-(len(covariance_N) // 5) :]
    np.testing.assert_allclose(got["covariance/top_20_percent"], top_N.mean(), rtol=1e-6)
    np.testing.assert_allclose(got["covariance/mean"], covariance_N.mean(), atol=1e-7)
    assert got["selection/selected"] == joined.selected_BT.sum() == joined.quota > 0
    signs = [got[f"selection/selected_{sign}_advantage"] for sign in ("positive", "negative")]
    assert sum(signs) == got["selection/selected"]


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_the_mean_of_a_top_share_is_that_of_the_tokens_kl_cov_selects_at_that_fraction(share):
    batch = random_batch()
    batch = batch._replace(adv=jnp.sign(batch.adv), logp=jnp.round(batch.logp))  # ties
    selection = select(KLCov(fraction=share), batch)
    selected_N = np.asarray(selection.covariance_BT)[np.asarray(selection.selected_BT)]
    got = jax.jit(selection_metrics)(selection, batch.mask)[f"covariance/top_{round(100 * share)}_percent"]
    np.testing.assert_allclose(got, selected_N.mean(dtype=np.float64), rtol=2e-7)


def test_golden_ratio_metrics():
    # d = 0.02, -0.1, 0, 0.2 | 0, -0.5, -0.2: mean(-d) = 0.58 / 7, mean |d| = 1.02 / 7 = 0.145714,
    # k3 = (mean r - 1) - mean d = 6.571703 / 7 - 1 + 0.58 / 7 = 0.021672.
    batch = golden_batch()
    got = as_floats(ratio_metrics(batch.logp, batch.old_logp, batch.mask))
    assert set(got) == {
        "policy/approx_kl",
        "policy/approx_kl_k3",
        "policy/absolute_log_ratio",
        "policy/ratio_max",
    }
    np.testing.assert_allclose(got["policy/approx_kl"], 0.58 / 7, atol=1e-6)
    np.testing.assert_allclose(got["policy/absolute_log_ratio"], 0.145714, atol=1e-6)
    np.testing.assert_allclose(got["policy/approx_kl_k3"], 0.021672, atol=1e-6)
    np.testing.assert_allclose(got["policy/ratio_max"], 1.221403, atol=1e-6)


def test_the_two_mean_entropies_differ_by_the_weight_of_long_sequences():
    entropy = jnp.array([[1.0, 2.0, 3.0], [7.0, jnp.nan, jnp.nan], [jnp.nan] * 3])
    mask = jnp.array([[True, True, True], [True, False, False], [False] * 3])
    expected = {"policy/entropy": 13 / 4, "policy/entropy_sequence_mean": (2 + 7) / 2}
    assert as_floats(entropy_metrics(entropy, mask)) == expected


def test_clip_fractions_are_of_the_valid_tokens():
    batch = golden_batch()
    causes = {"cov": jnp.zeros_like(batch.mask).at[1, 1].set(True)}
    np.testing.assert_allclose(clip_fractions(causes, batch.mask)["policy/clip_fraction_cov"], 1 / 7)


def test_metrics_of_an_empty_batch_are_zero():
    batch = random_batch(poison=jnp.nan)
    batch = batch._replace(mask=jnp.zeros_like(batch.mask))
    metrics = {
        **jax.jit(selection_metrics)(select(KLCov(), batch), batch.mask),
        **ratio_metrics(batch.logp, batch.old_logp, batch.mask),
        **entropy_metrics(batch.logp, batch.mask),
    }
    assert set(as_floats(metrics).values()) == {0.0}

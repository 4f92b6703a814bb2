"""How entropy and surprisal are distributed over tokens: identities, slow references, and goldens."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from entropy_rl.objectives import entropy_deciles, entropy_distribution, entropy_metrics, surprisal_metrics
from entropy_rl.objectives.diagnostics import ENTROPY_QUANTILES
from pallas_kernels.covariance_selection import CovarianceSelector
from pallas_kernels.sharding import Shards

LENGTHS = np.array([23, 1, 0, 7, 2, 11, 10, 19])
MASK = np.arange(23) < LENGTHS[:, None]


def random_tokens(seed: int = 0):
    """(logp, entropy) of responses of 0 to 23 tokens, nan where there is none."""
    rng = np.random.default_rng(seed)
    entropy = rng.exponential(size=MASK.shape)
    logp = -rng.exponential(size=MASK.shape) - entropy
    return [jnp.asarray(np.where(MASK, x, np.nan), jnp.float32) for x in (logp, entropy)]


@pytest.fixture(scope="module")
def described():
    return jax.jit(entropy_distribution)(random_tokens()[1], jnp.asarray(MASK))


def test_quantiles_are_tokens_of_a_sort_and_the_top_is_the_mean_of_its_last_fifth(described):
    entropy_N = np.sort(np.asarray(random_tokens()[1])[MASK])
    assert len(entropy_N) == 73
    for name, q in ENTROPY_QUANTILES.items():
        assert described[f"entropy/{name}"] == entropy_N[int(Fraction(repr(q)) * 72)], name
    top = entropy_N[-14:].mean(dtype=np.float64)  # floor(0.2 * 73) = 14
    np.testing.assert_allclose(described["entropy/top_20_percent"], top, rtol=2e-7)


@pytest.mark.parametrize("num_devices", [2, 8])
def test_the_distribution_is_the_same_bits_on_any_number_of_devices(described, num_devices):
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:num_devices]), ("data",))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    selector = CovarianceSelector(shards=Shards(mesh=mesh, tokens=("data",)))
    operands = jax.device_put((random_tokens()[1], jnp.asarray(MASK)), rows)
    describe = jax.jit(lambda *operands: entropy_distribution(*operands, selector=selector))
    got = describe(*operands)
    assert {name: float(x) for name, x in got.items()} == {name: float(x) for name, x in described.items()}
    text = describe.lower(*operands).compile().as_text()
    assert "all-reduce" in text and "all-gather" not in text and " sort(" not in text


def in_order(got: dict) -> list[float]:
    return [float(got[f"entropy/decile_{n}"]) for n in range(1, 11)]


def test_the_mean_of_the_deciles_is_that_of_all_tokens():
    _, entropy = random_tokens()
    got = in_order(jax.jit(entropy_deciles)(entropy, jnp.asarray(MASK)))
    mean = entropy_metrics(entropy, jnp.asarray(MASK))["policy/entropy"]
    np.testing.assert_allclose(np.mean(got), mean, rtol=1e-6)


def test_deciles_are_those_of_responses_whose_tokens_are_split_into_ten_parts():
    _, entropy = random_tokens()
    entropy = np.asarray(entropy, np.float64)
    # Ten parts a token, 10 L of a response, of which each tenth has L.
    parts = [
        np.repeat(row[:length], 10).reshape(10, length) for row, length in zip(entropy, LENGTHS, strict=True)
    ]
    expected = np.concatenate(parts, axis=1).mean(axis=1)
    got = in_order(jax.jit(entropy_deciles)(jnp.asarray(entropy, jnp.float32), jnp.asarray(MASK)))
    np.testing.assert_allclose(got, expected, rtol=2e-6)


def test_golden_deciles():
    # Three tokens take 3 1/3 tenths each: 1 1 1 (1/3 of 1, 2/3 of 4) 4 4 (2/3 of 4, 1/3 of 7) 7 7 7.
    entropy, mask = np.array([[1.0, 4.0, 7.0, np.nan]], np.float32), np.array([[True, True, True, False]])
    got = in_order(jax.jit(entropy_deciles)(jnp.asarray(entropy), jnp.asarray(mask)))
    np.testing.assert_allclose(got, [1, 1, 1, 3, 4, 4, 5, 7, 7, 7], rtol=1e-6)


def surprisal(logp, entropy, mask) -> tuple[float, float]:
    got = jax.jit(surprisal_metrics)(jnp.asarray(logp), jnp.asarray(entropy), jnp.asarray(mask))
    return float(got["policy/surprisal"]), float(got["policy/surprisal_error"])


def test_golden_surprisal():
    # -logp is 1, 3 | 2 and exceeds the entropy by 0.5, 1.5 | -1: D = 1/3, of responses 2 - 2/3 = 4/3 and
    # -1 - 1/3 = -4/3, so the error is sqrt(2 / 1 * 32 / 9) / 3 = 8 / 9.
    logp, entropy = -np.array([[1.0, 3.0], [2.0, np.nan]]), np.array([[0.5, 1.5], [3.0, np.nan]])
    mask = np.array([[True, True], [True, False]])
    got = surprisal(logp.astype(np.float32), entropy.astype(np.float32), mask)
    np.testing.assert_allclose(got, (2, 8 / 9), rtol=1e-6)


def test_surprisal_of_a_sharp_policy_is_its_entropy_without_an_error_and_one_response_has_none():
    equal = jnp.asarray(np.where(MASK, -1.5, np.nan), jnp.float32)
    assert surprisal(equal, -equal, MASK) == (1.5, 0.0)
    assert np.isnan(surprisal(equal[:1], -equal[:1], MASK[:1])[1])


def test_the_error_of_the_surprisal_is_its_spread_over_samples():
    """Tokens drawn from a three-way choice: the reported error against the spread of many draws."""
    rng = np.random.default_rng(0)
    p = np.array([0.7, 0.2, 0.1])
    entropy = np.full(MASK.shape, -(p * np.log(p)).sum(), np.float32)
    draws = [
        surprisal(np.log(p)[rng.choice(3, MASK.shape, p=p)].astype(np.float32), entropy, MASK)
        for _ in range(300)
    ]
    surprisals, errors = np.array(draws).T
    assert abs(surprisals.mean() - entropy[0, 0]) < 3 * surprisals.std() / np.sqrt(300)
    # A linear approximation over 7 responses is some way below.
    np.testing.assert_allclose(np.sqrt((errors**2).mean()), surprisals.std(), rtol=0.25)


def test_metrics_of_no_token_are_zero_and_tokens_that_are_not_finite_are_left_out_of_the_distribution():
    logp, entropy = random_tokens()
    nothing = jnp.zeros(MASK.shape, bool)
    metrics = {
        **jax.jit(entropy_distribution)(entropy, nothing),
        **jax.jit(entropy_deciles)(entropy, nothing),
        **jax.jit(surprisal_metrics)(logp, entropy, nothing),
    }
    assert {float(x) for x in metrics.values()} == {0.0}
    got = jax.jit(entropy_distribution)(entropy.at[0, 3].set(jnp.inf), jnp.asarray(MASK))
    assert np.isfinite(float(got["entropy/max"]))

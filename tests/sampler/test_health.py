"""What the logits looked like: identities, a slow reference, splits that change nothing, stop tokens."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from entropy_rl.sampler import LogitHealth, Sampler, Sampling
from entropy_rl.sampler.health import BLOCK, draw_sums, largest
from tests.policies import TINY, tiny_policy

PROMPTS, SAMPLES, PROMPT_TOKENS, NEW_TOKENS = 5, 3, 7, 11
STOPS = (2, 16)  # likely ones in this policy
PLAIN = Sampling()


def prompts():
    rng = np.random.default_rng(0)
    ids_PS = rng.integers(1, TINY.vocab_size, (PROMPTS, PROMPT_TOKENS)).astype(np.int32)
    return jnp.asarray(ids_PS), jnp.ones(ids_PS.shape, bool), jnp.arange(PROMPTS, dtype=jnp.int32) + 100


def make_sampler(policy, **changes):
    settings = dict(
        sampling=Sampling(temperature=1.3, min_new_tokens=6),
        stop_ids=STOPS,
        pad_id=0,
        num_samples=SAMPLES,
        max_new_tokens=NEW_TOKENS,
        watches_logits=True,
    )
    return Sampler(policy=policy, **(settings | changes))


def watched(sampler, params):
    """(The rollout, what its logits looked like.)"""
    seen = []
    rollout = sampler(params, *prompts(), jax.random.key(0), on_health=seen.append)
    (health,) = seen
    return rollout, health


@pytest.fixture(scope="module")
def whole():
    """Policy, parameters, sampler, rollout and health of one wave."""
    policy, params = tiny_policy()
    sampler = make_sampler(policy)
    return policy, params, sampler, *watched(sampler, params)


def health_of(logits_BV, *, sampling=PLAIN, stop_ids=()):
    """Of the first draw of each row, which draws token 0."""
    logits_BV = jnp.asarray(logits_BV, jnp.float32)
    token_B = jnp.zeros(len(logits_BV), jnp.int32)
    logp_BV = jax.nn.log_softmax(logits_BV / sampling.temperature)
    logp_B = jnp.take_along_axis(logp_BV, token_B[:, None], axis=-1)[:, 0]
    sums_BN = draw_sums(logits_BV, token_B, logp_B, sampling, stop_ids, jnp.int32(0))
    mask_BT = np.ones((len(logits_BV), 1), bool)
    return LogitHealth.of(np.asarray(sums_BN), mask_BT, sampling, stop_ids).metrics()


@pytest.mark.parametrize("vocab", [7, 3 * BLOCK + 1, 17 * BLOCK + 5])
def test_equal_logits_have_probability_one_over_the_vocabulary_and_no_gap(vocab):
    metrics = health_of(np.full((2, vocab), 3.5))
    assert metrics.pop("logits/gap") == 0
    assert len(metrics) == 6
    np.testing.assert_allclose(list(metrics.values()), 1 / vocab, rtol=1e-5)


def test_one_logit_far_above_all_others_has_all_the_probability():
    logits_BV = np.zeros((3, 11))
    logits_BV[:, 5] = 100
    metrics = health_of(logits_BV)
    assert metrics["logits/max_probability"] == metrics["logits/top_1"] == 1
    assert metrics["logits/gap"] == 100 and metrics["logits/top_2"] < 1e-40


def test_temperature_divides_the_gap():
    # Logits 2 and 1 at temperature 0.5: a gap of 2, probabilities e^2 / (1 + e^2) = 0.880797 and 0.119203.
    metrics = health_of([[1.0, 2.0, -1e4, -1e4, -1e4, -1e4]], sampling=Sampling(temperature=0.5))
    assert metrics["logits/gap"] == 2
    np.testing.assert_allclose([metrics["logits/top_1"], metrics["logits/top_2"]], [0.880797, 0.119203], 1e-5)
    assert metrics["logits/top_3"] == 0


@pytest.mark.parametrize("vocab", [3, 5, 23, 10 * BLOCK, 10 * BLOCK + 1, 31 * BLOCK + 7])
def test_the_largest_found_by_blocks_are_those_of_a_sort_ties_included(vocab):
    rng = np.random.default_rng(1)
    x_BV = rng.integers(0, 50, (13, vocab)).astype(np.float32)  # many of them equal
    x_BV[1] = -np.inf
    expected = np.full((13, 5), -np.inf, np.float32)
    expected[:, : min(vocab, 5)] = np.sort(x_BV, axis=1)[:, ::-1][:, :5]
    np.testing.assert_array_equal(largest(jnp.asarray(x_BV), 5), expected)


def test_no_whole_row_is_sorted():
    arrays = jnp.zeros((3, 23)), jnp.zeros(3, jnp.int32), jnp.zeros(3)
    look = jax.jit(lambda *arrays: draw_sums(*arrays, PLAIN, (), jnp.int32(0)))
    assert " sort(" not in look.lower(*arrays).compile().as_text()


def test_the_metrics_are_those_of_a_full_forward_over_the_tokens_drawn(whole):
    policy, params, sampler, rollout, health = whole
    ids_PS, _, _ = prompts()
    temperature, minimum = sampler.sampling.temperature, sampler.sampling.min_new_tokens
    text_PT = jnp.concatenate([ids_PS, rollout.response_ids_PGT[:, 0]], axis=1)
    forward = jax.jit(lambda tokens_PT: policy.logits(params, policy.sequence_hidden(params, tokens_PT)))
    logits_PTV = np.asarray(forward(text_PT), np.float64)[:, PROMPT_TOKENS - 1 : -1] / temperature
    rows, suppressed = [], []
    for p in range(PROMPTS):
        for t in range(NEW_TOKENS):
            if not rollout.response_mask_PGT[p, 0, t]:
                continue
            logits = logits_PTV[p, t]
            p_V = np.exp(logits) / np.exp(logits).sum()
            top = np.sort(p_V)[::-1]
            rows.append([np.sort(logits)[-1] - np.sort(logits)[-2], *top[:5]])
            if t < minimum:
                suppressed.append([np.argmax(logits) in STOPS, p_V[list(STOPS)].sum()])
    metrics = health.metrics()
    assert health.num_draws == len(rows) < PROMPTS * NEW_TOKENS  # some responses ended before
    names = ["logits/gap", *(f"logits/top_{n}" for n in range(1, 6))]
    np.testing.assert_allclose([metrics[name] for name in names], np.mean(rows, axis=0), rtol=1e-5)
    names = ["sampler/stop_suppressed_fraction", "sampler/stop_suppressed_mass"]
    expected = np.mean(suppressed, axis=0)
    assert health.num_suppressed == len(suppressed) == PROMPTS * minimum and 0 < expected[0] < 1
    np.testing.assert_allclose([metrics[name] for name in names], expected, rtol=1e-5)


def test_watching_changes_no_bit_of_a_rollout(whole):
    policy, params, _, rollout, _ = whole
    unwatched = make_sampler(policy, watches_logits=False)(params, *prompts(), jax.random.key(0))
    for name, x in vars(rollout).items():
        np.testing.assert_array_equal(x, getattr(unwatched, name), err_msg=name)


@pytest.mark.parametrize("prompts_per_wave", [1, 2])
def test_waves_of_any_size_see_the_same(whole, prompts_per_wave):
    policy, params, _, _, health = whole
    _, cut = watched(make_sampler(policy, prompts_per_wave=prompts_per_wave), params)
    assert (cut.num_draws, cut.num_suppressed) == (health.num_draws, health.num_suppressed)
    np.testing.assert_allclose(cut.sum_N, health.sum_N, rtol=1e-5)


def test_rollouts_add_up_to_the_mean_over_all_of_their_draws():
    sampling = Sampling(min_new_tokens=2)
    first, second = (
        LogitHealth.of(np.full((1, 8), value), np.ones((1, length), bool), sampling, (1,))
        for value, length in ((3.0, 3), (1.0, 1))
    )
    metrics = (first + second).metrics()
    assert metrics["logits/gap"] == 4 / 4  # 3 + 1, over 3 + 1 draws
    assert metrics["sampler/stop_suppressed_mass"] == 4 / 3  # of which 2 + 1 before the minimum


def test_a_stop_token_that_would_have_come_first_is_seen_before_the_minimum_and_not_after():
    # Token 1 stops. In row 0 it has e^2 / (e^2 + 2) = 0.786986, and is the likeliest; in row 1
    # e^-2 / (e^-2 + 2) = 0.063379, and is not.
    logits_BV = [[0.0, 2.0, 0.0], [0.0, -2.0, 0.0]]
    sampling = Sampling(min_new_tokens=1)
    metrics = health_of(logits_BV, sampling=sampling, stop_ids=(1,))
    assert metrics["sampler/stop_suppressed_fraction"] == 0.5
    np.testing.assert_allclose(metrics["sampler/stop_suppressed_mass"], (0.786986 + 0.063379) / 2, rtol=1e-5)
    after = draw_sums(
        jnp.asarray(logits_BV), jnp.zeros(2, jnp.int32), jnp.zeros(2), sampling, (1,), jnp.int32(1)
    )
    assert not after[:, -2:].any()


@pytest.mark.parametrize("changes", [dict(sampling=Sampling()), dict(stop_ids=())])
def test_without_forbidden_tokens_nothing_is_told_of_them(whole, changes):
    policy, params, *_ = whole
    _, health = watched(make_sampler(policy, **changes), params)
    assert not [name for name in health.metrics() if name.startswith("sampler/")]


def test_a_policy_of_equal_logits_stops_at_every_draw_with_the_share_of_stop_tokens(whole):
    policy, params, sampler, _, _ = whole
    _, health = watched(sampler, params | {"embedding": jnp.zeros_like(params["embedding"])})  # it is tied
    metrics = health.metrics()
    # 2 of 23 tokens stop. A tie for the first place counts: no other token is likelier.
    np.testing.assert_allclose(metrics["sampler/stop_suppressed_mass"], 2 / 23, rtol=1e-5)
    np.testing.assert_allclose(metrics["logits/max_probability"], 1 / 23, rtol=1e-5)
    assert metrics["sampler/stop_suppressed_fraction"] == 1 and metrics["logits/gap"] == 0

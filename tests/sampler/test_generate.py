"""The decode loop: sampler equals learner, keys, stops, limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from entropy_rl.objectives import KLCov
from entropy_rl.sampler import Sampler, Sampling, wave
from entropy_rl.training.learner import Learner
from entropy_rl.training.optimizer import AdamW
from tests.policies import TINY, tiny_policy

PROMPTS, SAMPLES, PROMPT_TOKENS, NEW_TOKENS = 3, 5, 7, 11
PAD, STOPS = 0, (4, 9)


@pytest.fixture(scope="module")
def policy_and_params():
    return tiny_policy()


def make_sampler(policy, **changes):
    settings = dict(
        sampling=Sampling(), stop_ids=STOPS, pad_id=PAD, num_samples=SAMPLES, max_new_tokens=NEW_TOKENS
    )
    return Sampler(policy=policy, **(settings | changes))


def prompts(num=PROMPTS):
    rng = np.random.default_rng(0)
    length_P = rng.integers(1, PROMPT_TOKENS + 1, num)
    mask_PS = np.arange(PROMPT_TOKENS)[None] >= PROMPT_TOKENS - length_P[:, None]
    ids_PS = np.where(mask_PS, rng.integers(1, TINY.vocab_size, mask_PS.shape), PAD).astype(np.int32)
    return jnp.asarray(ids_PS), jnp.asarray(mask_PS), jnp.arange(num, dtype=jnp.int32) + 100


def test_a_response_ends_with_its_first_stop_token_and_is_padded_after(policy_and_params, key):
    policy, params = policy_and_params
    rollout = make_sampler(policy)(params, *prompts(), key)
    ended = 0
    for ids_T, mask_T in zip(
        np.asarray(rollout.response_ids_PGT).reshape(-1, NEW_TOKENS),
        np.asarray(rollout.response_mask_PGT).reshape(-1, NEW_TOKENS),
        strict=True,
    ):
        stops = np.flatnonzero(np.isin(ids_T, STOPS))
        length = stops[0] + 1 if len(stops) else NEW_TOKENS
        ended += len(stops) > 0
        np.testing.assert_array_equal(mask_T, np.arange(NEW_TOKENS) < length)
        assert (ids_T[length:] == PAD).all()
    assert 0 < ended < PROMPTS * SAMPLES  # the prompts were chosen so that both happen


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_sampler_log_probs_equal_learner_log_probs(policy_and_params, key, temperature):
    policy, params = policy_and_params
    rollout = make_sampler(policy, sampling=Sampling(temperature=temperature))(params, *prompts(), key)
    learner = Learner(policy=policy, objective=KLCov(), optimizer=AdamW(), temperature=temperature)
    logp_PGT, _ = learner.log_probs(params, rollout)
    gap = jnp.max(jnp.abs(logp_PGT - rollout.logp_PGT), where=rollout.response_mask_PGT, initial=0)
    assert gap < 1e-5


def test_the_cache_grows_without_changing_a_token(policy_and_params, key, monkeypatch):
    policy, params = policy_and_params
    whole = make_sampler(policy)(params, *prompts(), key)
    monkeypatch.setattr(wave, "FIRST_SEGMENT", 2)  # segments of 2, 2, 4 and 2 slots
    jax.clear_caches()
    grown = make_sampler(policy)(params, *prompts(), key)
    np.testing.assert_array_equal(whole.response_ids_PGT, grown.response_ids_PGT)
    np.testing.assert_allclose(whole.logp_PGT, grown.logp_PGT, atol=1e-5)


def test_the_same_seed_gives_the_same_tokens_whatever_the_batch_split(policy_and_params, key):
    policy, params = policy_and_params
    ids_PS, mask_PS, id_P = prompts()
    sampler = make_sampler(policy)
    whole = sampler(params, ids_PS, mask_PS, id_P, key)
    for p in range(PROMPTS):
        one = sampler(params, ids_PS[p : p + 1], mask_PS[p : p + 1], id_P[p : p + 1], key)
        np.testing.assert_array_equal(one.response_ids_PGT[0], whole.response_ids_PGT[p])
    other = sampler(params, ids_PS, mask_PS, id_P, jax.random.key(1))
    assert (other.response_ids_PGT != whole.response_ids_PGT).any()


@pytest.mark.parametrize("prompts_per_wave", [1, 2, 50])
def test_waves_of_any_size_give_the_same_tokens(policy_and_params, key, prompts_per_wave):
    policy, params = policy_and_params
    whole = make_sampler(policy)(params, *prompts(), key)
    cut = make_sampler(policy, prompts_per_wave=prompts_per_wave)(params, *prompts(), key)
    np.testing.assert_array_equal(cut.response_ids_PGT, whole.response_ids_PGT)
    np.testing.assert_allclose(cut.behavior_logp_PGT, whole.behavior_logp_PGT, atol=1e-5)


def test_the_host_is_called_after_so_many_tokens_of_each_wave_and_may_end_the_rollout(policy_and_params, key):
    policy, params = policy_and_params
    whole = make_sampler(policy, stop_ids=(), prompts_per_wave=2)(params, *prompts(), key)
    sampler = make_sampler(policy, stop_ids=(), prompts_per_wave=2, tokens_per_call=3)
    pauses = []
    paused = sampler(params, *prompts(), key, on_pause=lambda: pauses.append(1))
    assert (
        len(pauses) == 2 * 4
    )  # waves x calls; the first of 11 tokens is drawn by the prefill, 10 = 3 + 3 + 3 + 1
    np.testing.assert_array_equal(paused.response_ids_PGT, whole.response_ids_PGT)
    with pytest.raises(InterruptedError):
        sampler(params, *prompts(), key, on_pause=lambda: (_ for _ in ()).throw(InterruptedError))


@pytest.mark.parametrize("num_tokens", [1, 2, 128, 129, 130, 3072, 8192])
def test_segments_double_what_there_is_and_hold_every_token_but_the_last(num_tokens):
    sizes = wave.segment_sizes(num_tokens)
    assert num_tokens - 1 <= sum(sizes) < max(num_tokens - 1, 1) + wave.FIRST_SEGMENT
    for number, size in enumerate(sizes[1:], start=1):
        assert size <= sum(sizes[:number]) and size % wave.FIRST_SEGMENT == 0
    assert len(sizes) <= 7


def test_left_padding_does_not_change_a_token(policy_and_params, key):
    policy, params = policy_and_params
    ids_PS, mask_PS, id_P = prompts()
    wider = [jnp.pad(x, ((0, 0), (6, 0))) for x in (ids_PS, mask_PS)]
    sampler = make_sampler(policy)
    np.testing.assert_array_equal(
        sampler(params, ids_PS, mask_PS, id_P, key).response_ids_PGT,
        sampler(params, *wider, id_P, key).response_ids_PGT,
    )


def test_no_stop_token_comes_before_the_minimum_and_logp_stays_the_models(policy_and_params, key):
    policy, params = policy_and_params
    sampler = make_sampler(policy, sampling=Sampling(min_new_tokens=6))
    rollout = sampler(params, *prompts(), key)
    assert not np.isin(rollout.response_ids_PGT[..., :6], STOPS).any()
    assert (rollout.behavior_logp_PGT[..., :6] > rollout.logp_PGT[..., :6]).all()
    np.testing.assert_allclose(rollout.behavior_logp_PGT[..., 6:], rollout.logp_PGT[..., 6:], atol=1e-6)


def test_greedy_decoding_follows_the_argmax_of_a_full_forward(policy_and_params, key):
    policy, params = policy_and_params
    sampler = make_sampler(policy, sampling=Sampling(top_k=1), num_samples=1, stop_ids=())
    ids_PS, mask_PS, id_P = prompts()
    rollout = sampler(params, ids_PS, mask_PS, id_P, key)
    forward = jax.jit(lambda tokens_1T: policy.logits(params, policy.sequence_hidden(params, tokens_1T))[0])
    for p in range(PROMPTS):
        prompt, response = ids_PS[p][mask_PS[p]], rollout.response_ids_PGT[p, 0]
        text = jnp.pad(jnp.concatenate([prompt, response]), (0, PROMPT_TOKENS - len(prompt)))  # one shape
        best = jnp.argmax(forward(text[None]), axis=-1)[len(prompt) - 1 :][:NEW_TOKENS]
        np.testing.assert_array_equal(best, response)


def test_decoding_ends_when_all_rows_have_ended(policy_and_params, key):
    policy, params = policy_and_params
    every_token = tuple(range(TINY.vocab_size))
    rollout = make_sampler(policy, stop_ids=every_token, max_new_tokens=500)(params, *prompts(), key)
    assert (rollout.response_mask_PGT.sum(axis=-1) == 1).all()


def test_one_new_token_is_enough(policy_and_params, key):
    policy, params = policy_and_params
    rollout = make_sampler(policy, max_new_tokens=1)(params, *prompts(), key)
    assert rollout.response_ids_PGT.shape == (PROMPTS, SAMPLES, 1)


def test_stop_ids_outside_the_vocabulary_are_refused(policy_and_params):
    with pytest.raises(ValueError, match="stop ids"):
        make_sampler(policy_and_params[0], stop_ids=(TINY.vocab_size,))

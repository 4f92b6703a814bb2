"""Sampler and learner agree on a trained policy and long responses, not only on a tiny random one."""

import os
from pathlib import Path

import jax
import numpy as np
import pytest

from entropy_rl.data.pipeline import collate
from entropy_rl.data.prompts import Prompt
from entropy_rl.objectives import KLCov
from entropy_rl.sampler import Sampler, Sampling
from entropy_rl.stored_policy import read_policy
from entropy_rl.training.layout import Padded
from entropy_rl.training.learner import Learner
from entropy_rl.training.optimizer import AdamW

SMOLLM2 = Path(os.environ.get("ENTROPY_RL_POLICIES", "policies")) / "smollm2-135m"
TEXTS = ("The history of the bridge begins in", "Question: What is 17 + 25 * 3?\nAnswer:")
NEW_TOKENS = 512


@pytest.mark.slow
def test_sampler_log_probs_equal_learner_log_probs_at_512_tokens_of_a_real_policy(record_property):
    if not SMOLLM2.is_dir():
        pytest.skip(f"{SMOLLM2} is absent; name the folder of policies in ENTROPY_RL_POLICIES")
    stored = read_policy(SMOLLM2, param_dtype="float32")
    params = jax.device_put(stored.params)
    prompts = [
        Prompt(prompt_id=n, content=text, answer="", data_source="test", origin=f"text {n}")
        for n, text in enumerate(TEXTS)
    ]
    batch = collate(prompts, stored.tokenizer, 31)
    sampler = Sampler(
        policy=stored.policy,
        sampling=Sampling(),
        stop_ids=(),  # all 512 tokens, whatever is drawn
        pad_id=stored.tokenizer.pad_id,
        num_samples=2,
        max_new_tokens=NEW_TOKENS,
    )
    arrays = jax.device_put((batch.prompt_ids_PS, batch.prompt_mask_PS, batch.prompt_id_P))
    rollout = sampler(params, *arrays, jax.random.key(0))
    assert rollout.response_mask_PGT.all() and rollout.response_ids_PGT.shape == (2, 2, NEW_TOKENS)
    layout = Padded(num_microbatches=2)
    learner = Learner(policy=stored.policy, objective=KLCov(), optimizer=AdamW(), layout=layout)
    logp_PGT, entropy_PGT = learner.log_probs(params, rollout)
    gap_PGT = np.abs(np.asarray(logp_PGT) - np.asarray(rollout.logp_PGT))
    record_property("max_gap", float(gap_PGT.max()))
    record_property("mean_gap", float(gap_PGT.mean()))
    print(f"gap of log-probs: max {gap_PGT.max():.2e}, mean {gap_PGT.mean():.2e}")
    assert 0.1 < entropy_PGT.mean() < 6  # a trained policy: far from uniform (10.8) and from certain
    assert gap_PGT.max() <= 1e-4

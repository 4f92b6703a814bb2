"""Scores of given texts equal a forward pass done by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from entropy_rl.data.tokenizers import countdown_tokenizer
from entropy_rl.evaluation import score_rows
from tests.policies import tiny_policy


def test_scores_are_the_log_softmax_and_entropy_at_each_completion_token():
    policy, params = tiny_policy()
    tokenizer = countdown_tokenizer()
    rows = [("3,5,7=22:", "3*5+7"), ("1,2=3:", "1+2"), ("1,2=3:", "")]
    scores = list(score_rows(policy, params, tokenizer, rows))
    forward = jax.jit(lambda tokens_1T: policy.logits(params, policy.sequence_hidden(params, tokens_1T))[0])
    for (prompt, completion), score in zip(rows, scores, strict=True):
        ids = tokenizer.encode(prompt) + tokenizer.encode(completion)
        log_softmax = jax.nn.log_softmax(forward(jnp.array([ids])))
        start = len(tokenizer.encode(prompt))
        expected = [float(log_softmax[t - 1, ids[t]]) for t in range(start, len(ids))]
        entropies = [
            float(-jnp.sum(jnp.exp(log_softmax[t - 1]) * log_softmax[t - 1])) for t in range(start, len(ids))
        ]
        np.testing.assert_allclose(score["logps"], expected, atol=1e-5)
        np.testing.assert_allclose(score["entropies"], entropies, atol=1e-5)
        assert len(score["logps"]) == len(completion)


def test_an_empty_prompt_is_refused_with_its_row():
    policy, params = tiny_policy()
    with pytest.raises(ValueError, match="row 2"):
        list(score_rows(policy, params, countdown_tokenizer(), [("1", "2"), ("", "2")]))

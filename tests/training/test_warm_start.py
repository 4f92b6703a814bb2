"""Supervised training: how demonstrations are laid out, what the loss is, and that it falls."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from entropy_rl.data.tasks import CountdownTask
from entropy_rl.data.tokenizers import countdown_tokenizer
from entropy_rl.training.optimizer import AdamW
from entropy_rl.training.warm_start import Demonstrations, WarmStart, supervised_loss, warm_start
from tests.policies import TINY, tiny_policy

PAIRS = [("1,2=3:", "1+2"), ("9:", "9"), ("4,4=8:", "")]
SETTINGS = WarmStart(num_steps=40, batch_size=16, optimizer=AdamW(learning_rate=2e-2))


@pytest.fixture(scope="module")
def tokenizer():
    return countdown_tokenizer()


@pytest.fixture(scope="module")
def demonstrations(tokenizer):
    task = CountdownTask(num_train_prompts=31, num_heldout_prompts=5)
    return Demonstrations.encode(task.demonstrations(200, 0), tokenizer)


def test_prompts_are_padded_on_the_left_and_completions_end_by_a_stop_and_are_padded_on_the_right(tokenizer):
    demonstrations = Demonstrations.encode(PAIRS, tokenizer)
    stop, pad = tokenizer.stop_ids[0], tokenizer.pad_id
    assert demonstrations.prompt_ids_NS.shape == (3, 6) and demonstrations.completion_ids_NT.shape == (3, 4)
    for n, (prompt, completion) in enumerate(PAIRS):
        ids, answer = tokenizer.encode(prompt), [*tokenizer.encode(completion), stop]
        empty, rest = 6 - len(ids), 4 - len(answer)
        assert demonstrations.prompt_ids_NS[n].tolist() == [pad] * empty + ids
        assert demonstrations.prompt_mask_NS[n].tolist() == [False] * empty + [True] * len(ids)
        assert demonstrations.completion_ids_NT[n].tolist() == answer + [pad] * rest
        assert demonstrations.completion_mask_NT[n].tolist() == [True] * len(answer) + [False] * rest
    rows, arrays = demonstrations.rows(np.array([2, 0])), vars(demonstrations).values()
    for picked, whole in zip(rows, arrays, strict=True):
        np.testing.assert_array_equal(picked, whole[[2, 0]])


@pytest.mark.parametrize("pairs", [[], [("1:", "1"), ("", "2")]])
def test_nothing_to_learn_and_empty_prompts_are_refused(tokenizer, pairs):
    with pytest.raises(ValueError, match="non-empty prompts"):
        Demonstrations.encode(pairs, tokenizer)


def test_the_loss_is_the_mean_over_completion_tokens_whatever_lies_under_the_padding(tokenizer):
    policy, params = tiny_policy()
    demonstrations = Demonstrations.encode(PAIRS, tokenizer)
    forward = jax.jit(lambda tokens_1T: policy.logits(params, policy.sequence_hidden(params, tokens_1T))[0])
    logps = []
    for prompt, completion in PAIRS:
        ids, answer = tokenizer.encode(prompt), [*tokenizer.encode(completion), tokenizer.stop_ids[0]]
        log_softmax = jax.nn.log_softmax(forward(jnp.array([ids + answer])))
        logps += [float(log_softmax[len(ids) + t - 1, token]) for t, token in enumerate(answer)]
    assert len(logps) == 7  # (3 + 1) + (1 + 1) + (0 + 1)
    loss = jax.jit(supervised_loss, static_argnums=0)
    batch = [jnp.asarray(x) for x in demonstrations.rows(np.arange(3))]
    np.testing.assert_allclose(loss(policy, params, *batch), -np.mean(logps), rtol=1e-5)
    noisy = [jnp.where(batch[1], batch[0], 7), batch[1], jnp.where(batch[3], batch[2], 7), batch[3]]
    np.testing.assert_allclose(loss(policy, params, *noisy), -np.mean(logps), rtol=1e-5)


def test_the_loss_falls_on_demonstrations_and_a_seed_decides_all(demonstrations):
    def learn(seed: int):
        policy, params = tiny_policy(scale=1.0)
        seen = []
        params = warm_start(
            policy, params, demonstrations, SETTINGS, seed=seed, on_step=lambda *step: seen.append(step)
        )
        assert [step for step, _ in seen] == list(range(1, SETTINGS.num_steps + 1))
        return [loss for _, loss in seen], params["embedding"]

    losses, embedding = learn(0)
    assert losses[0] == pytest.approx(np.log(TINY.vocab_size), abs=0.1)  # it began by knowing nothing
    assert np.mean(losses[-5:]) < 0.6 * losses[0]
    again_losses, again_embedding = learn(0)
    assert losses == again_losses != learn(1)[0]
    np.testing.assert_array_equal(embedding, again_embedding)


def test_a_loss_that_is_not_finite_stops_the_warm_start(demonstrations):
    policy, params = tiny_policy(scale=jnp.nan)
    with pytest.raises(RuntimeError, match="step 1 is .*learning_rate"):
        warm_start(policy, params, demonstrations, SETTINGS, seed=0)


def test_settings_without_a_step_are_refused():
    with pytest.raises(ValueError, match="num_steps"):
        WarmStart(num_steps=0)

"""The same functions as transformers' Qwen2 and Qwen3: stored goldens, and live both ways where torch is."""

import os
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from entropy_rl.models.hf import load_pretrained, save_pretrained
from entropy_rl.models.policy import Policy
from tests.models.families import both_families

GOLDENS = Path(__file__).parent / "goldens"
POLICIES = Path(os.environ.get("ENTROPY_RL_POLICIES", "policies"))
PROMPTS = (
    "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May. How many "
    "clips did Natalia sell altogether in April and May? Let us think step by step.",
    'def quicksort(xs):\n    """Sort a list by choosing a pivot and partitioning around it."""\n'
    "    if len(xs) <= 1:\n        return xs\n    pivot = xs[len(xs) // 2]\n",
)


def our_logits(directory: Path, tokens_BT) -> np.ndarray:
    config, params = load_pretrained(directory, "float32")
    policy, params = Policy(config, "float32"), jax.device_put(params)
    score = jax.jit(lambda params, tokens: policy.logits(params, policy.sequence_hidden(params, tokens)))
    return np.asarray(score(params, jnp.asarray(tokens_BT, jnp.int32)))


@pytest.mark.parametrize("name", ["tied", "untied", "qwen3"])
def test_logits_equal_the_stored_ones(name):
    expected = np.load(GOLDENS / name / "expected.npz")
    logits = our_logits(GOLDENS / name, expected["tokens"])
    np.testing.assert_allclose(logits, expected["logits"], rtol=0, atol=1e-4)


@pytest.fixture
def hugging_face(monkeypatch):
    """torch, transformers' loader, and the maker of random models."""
    torch = pytest.importorskip("torch")
    monkeypatch.syspath_prepend(GOLDENS)
    from make import random_model
    from transformers import AutoModelForCausalLM

    yield torch, AutoModelForCausalLM, random_model
    sys.modules.pop("make")


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("family", ["qwen2", "qwen3"])
def test_a_model_saved_by_transformers_gives_its_logits(hugging_face, tmp_path, family, tied):
    torch, _, random_model = hugging_face
    model = random_model(family, tied)
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    tokens = torch.randint(31, (3, 19))
    with torch.no_grad():
        expected = model(tokens).logits.numpy()
    np.testing.assert_allclose(our_logits(tmp_path, tokens.numpy()), expected, rtol=0, atol=1e-4)


@both_families
@pytest.mark.parametrize("max_shard_bytes", [1 << 30, 5000], ids=["single", "sharded"])
def test_transformers_loads_a_model_saved_here_and_gives_its_logits(
    hugging_face, policy, params, tmp_path, max_shard_bytes
):
    torch, auto_model, _ = hugging_face
    save_pretrained(tmp_path, policy.config, params, dtype="float32", max_shard_bytes=max_shard_bytes)
    model = auto_model.from_pretrained(tmp_path, dtype=torch.float32)
    assert type(model).__name__ == ("Qwen3ForCausalLM" if policy.config.qk_norm else "Qwen2ForCausalLM")
    tokens = torch.randint(31, (3, 19))
    with torch.no_grad():
        expected = model(tokens).logits.numpy()
    logits = policy.logits(params, policy.sequence_hidden(params, jnp.asarray(tokens.numpy(), jnp.int32)))
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4)


@both_families
def test_left_padding_means_what_it_means_to_transformers(hugging_face, policy, params, batch, tmp_path):
    torch, auto_model, _ = hugging_face
    save_pretrained(tmp_path, policy.config, params, dtype="float32")
    model = auto_model.from_pretrained(tmp_path, dtype=torch.float32)
    ids, mask = (torch.tensor(np.asarray(x)) for x in batch[:2])
    with torch.no_grad():
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        expected = model(ids, attention_mask=mask.long(), position_ids=positions).logits[:, -1].numpy()
    _, last_PD = policy.prefill(params, *batch[:2])
    np.testing.assert_allclose(policy.logits(params, last_PD), expected, rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["smollm2-135m", "qwen2.5-coder-1.5b"])
def test_real_policies_give_the_logits_of_transformers(hugging_face, name):
    """f32 logits within 1e-4 of the largest logit (f32 of transformers is as far from its own f64)."""
    directory = POLICIES / name
    if not directory.is_dir():
        pytest.skip(f"{directory} is absent; name the folder of policies in ENTROPY_RL_POLICIES")
    torch, auto_model, _ = hugging_face
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(directory)
    tokens = [tokenizer(prompt).input_ids for prompt in PROMPTS]
    model = auto_model.from_pretrained(directory, dtype=torch.float32)
    with torch.no_grad():
        expected = [model(torch.tensor([ids])).logits.numpy() for ids in tokens]
    del model  # one copy of the parameters at a time
    for ids, logits in zip(tokens, expected, strict=True):
        assert len(ids) >= 30
        ours = our_logits(directory, [ids])
        np.testing.assert_array_equal(ours.argmax(-1), logits.argmax(-1))
        np.testing.assert_allclose(ours, logits, rtol=0, atol=1e-4 * np.abs(logits).max())

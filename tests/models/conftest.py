"""A tiny policy for the tests of models: every axis another size, most of them prime, no parameter zero."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from entropy_rl.models.config import Qwen2Config
from entropy_rl.models.policy import Policy

TINY = Qwen2Config(
    vocab_size=31,
    num_layers=3,
    hidden_size=13,
    intermediate_size=17,
    num_heads=6,
    num_kv_heads=2,
    head_dim=10,
    rope_theta=1e4,
)


@pytest.fixture(scope="session")
def config() -> Qwen2Config:
    return TINY


@pytest.fixture(scope="session")
def policy() -> Policy:
    return Policy(TINY)


@pytest.fixture(scope="session")
def params(policy):
    """Far from their initial values: biases and norms are random too, and attention is not uniform."""
    draw = np.random.default_rng(0).normal
    centre = {"input_norm": 1.0, "mlp_norm": 1.0, "final_norm": 1.0}

    def value(path, leaf):
        return jnp.asarray(draw(centre.get(path[-1].key, 0.0), 0.3, leaf.shape), leaf.dtype)

    return jax.tree_util.tree_map_with_path(value, policy.abstract_params())


@pytest.fixture(scope="session")
def batch():
    """Two prompts of 3 and 5 tokens padded to 5, with 3 responses of 7 tokens to each."""
    prompt_ids_PS = jax.random.randint(jax.random.key(2), (2, 5), 0, 31, jnp.int32)
    prompt_mask_PS = jnp.array([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]], bool)
    response_ids_BT = jax.random.randint(jax.random.key(3), (6, 7), 0, 31, jnp.int32)
    return prompt_ids_PS, prompt_mask_PS, response_ids_BT

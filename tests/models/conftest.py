"""A tiny policy for the tests of models, no parameter of which is zero."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from entropy_rl.models.config import Qwen2Config
from entropy_rl.models.policy import Policy
from tests.models.families import QWEN2


@pytest.fixture(scope="session")
def config(request) -> Qwen2Config:
    """Qwen2's, or that of the family a test asks for."""
    return getattr(request, "param", QWEN2)


@pytest.fixture(scope="session")
def policy(config) -> Policy:
    return Policy(config, "float32")


@pytest.fixture(scope="session")
def params(policy):
    """Far from their initial values: biases and norms are random too, and attention is not uniform."""
    draw = np.random.default_rng(0).normal

    def value(path, leaf):
        centre = 1.0 if path[-1].key.endswith("norm") else 0.0
        return jnp.asarray(draw(centre, 0.3, leaf.shape), leaf.dtype)

    return jax.tree_util.tree_map_with_path(value, policy.abstract_params())


@pytest.fixture(scope="session")
def batch():
    """Two prompts of 3 and 5 tokens padded to 5, with 3 responses of 7 tokens to each."""
    prompt_ids_PS = jax.random.randint(jax.random.key(2), (2, 5), 0, 31, jnp.int32)
    prompt_mask_PS = jnp.array([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]], bool)
    response_ids_BT = jax.random.randint(jax.random.key(3), (6, 7), 0, 31, jnp.int32)
    return prompt_ids_PS, prompt_mask_PS, response_ids_BT

"""A policy small enough to compile in a second; every size is a different prime or nearly so."""

import jax

from entropy_rl.models.config import Qwen2Config
from entropy_rl.models.policy import Policy

TINY = Qwen2Config(
    vocab_size=23,
    num_layers=2,
    hidden_size=13,
    intermediate_size=17,
    num_heads=6,
    num_kv_heads=3,
    head_dim=4,
    rope_theta=1e4,
    tie_embeddings=True,
)


def tiny_policy(seed: int = 0, scale: float = 20.0, config: Qwen2Config = TINY) -> tuple[Policy, dict]:
    """A policy and random parameters, scaled up so that its distributions are far from uniform."""
    policy = Policy(config, "float32")
    params = policy.init(jax.random.key(seed))
    params["embedding"] = scale * params["embedding"]
    return policy, params

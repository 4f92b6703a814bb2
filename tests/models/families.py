"""A tiny model of each family: every axis another size, most of them prime."""

import dataclasses

import pytest

from entropy_rl.models.config import Qwen2Config

QWEN2 = Qwen2Config(
    vocab_size=31,
    num_layers=3,
    hidden_size=13,
    intermediate_size=17,
    num_heads=6,
    num_kv_heads=2,
    head_dim=10,
    rope_theta=1e4,
)
QWEN3 = dataclasses.replace(QWEN2, qk_norm=True)

both_families = pytest.mark.parametrize("config", [QWEN2, QWEN3], ids=["qwen2", "qwen3"], indirect=True)
"""Runs a test with the fixtures `config`, `policy` and `params` of each."""

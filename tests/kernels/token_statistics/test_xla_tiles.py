"""What only the implementation in plain XLA has: its tiles, and how little memory they take."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pallas_kernels.token_statistics import (
    XLATiles,
    statistics_of_logits,
    token_statistics,
)
from pallas_kernels.token_statistics.tiled import tile_width
from tests.kernels.token_statistics.cases import make_case


def test_uniform_logits_give_minus_log_vocabulary_and_its_entropy():
    logp_T, entropy_T = statistics_of_logits(jnp.zeros((3, 11)), jnp.array([0, 5, 10]))
    np.testing.assert_allclose(logp_T, -np.log(11), rtol=1e-6)
    np.testing.assert_allclose(entropy_T, np.log(11), rtol=1e-6)


def temp_bytes(num_tokens: int, vocab: int, how: XLATiles) -> int:
    """Temporary memory of the gradient for hidden and head."""
    hidden_TD, head_VD, label_T, *_ = make_case(num_tokens, 7, vocab)

    def loss(hidden_TD, head_VD):
        logp_T, entropy_T = token_statistics(hidden_TD, head_VD, label_T, implementation=how)
        return (logp_T + entropy_T).sum()

    program = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(hidden_TD, head_VD).compile()
    return program.memory_analysis().temp_size_in_bytes


def test_logits_are_kept_up_to_the_limit_and_no_further():
    num_tokens, vocab = 67, 4099
    all_logits = 4 * num_tokens * vocab
    tiles = XLATiles(max_tile_bytes=4 * num_tokens * 100, min_width=1, max_kept_bytes=all_logits)
    assert temp_bytes(num_tokens, vocab, tiles) >= all_logits
    assert temp_bytes(num_tokens, vocab, replace(tiles, max_kept_bytes=all_logits - 1)) < all_logits / 2


def test_no_array_of_all_logits_exists_forward_or_backward():
    num_tokens, vocab, budget = 67, 4099, 4 * 67 * 100
    tiles = XLATiles(max_tile_bytes=budget, min_width=1, max_kept_bytes=0)
    head_bytes = 4 * 7 * vocab
    assert temp_bytes(num_tokens, vocab, tiles) < 8 * budget + 3 * head_bytes < 4 * num_tokens * vocab


@pytest.mark.parametrize(
    ("num_tokens", "vocab", "width"),
    [(2048, 151_936, 2374), (8192, 152_064, 864), (10, 64, 64), (2, 4099, 100), (1 << 30, 131, 1)],
)
def test_tiles_divide_the_vocabulary_where_a_near_width_does(num_tokens, vocab, width):
    got = tile_width(num_tokens, vocab, 800 if vocab == 4099 else 32 << 20, 1 if vocab < 5000 else 512)
    assert got == width

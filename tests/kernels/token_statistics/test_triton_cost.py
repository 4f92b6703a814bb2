"""The modelled times: what they count, by numbers small enough for the head."""

import dataclasses

import pytest

from pallas_kernels.token_statistics import XLATiles
from pallas_kernels.token_statistics.triton import Triton
from pallas_kernels.token_statistics.triton_cost import GPU, H200, Shape, naive_s, tiles_s, triton_s

SHAPE = Shape(num_tokens=8192, hidden_size=3584, vocab=152_064)
NO_LIMIT = 1e30
ONLY_PRODUCTS = dataclasses.replace(
    H200, hbm_bytes=NO_LIMIT, l2_bytes=NO_LIMIT, vector_ops=NO_LIMIT, num_multiprocessors=1
)
PRODUCT_S = 2 * 8192 * 3584 * 152_064 / 989e12


def test_three_products_with_logits_kept_and_four_without():
    assert naive_s(SHAPE, ONLY_PRODUCTS) == pytest.approx((PRODUCT_S, 2 * PRODUCT_S))
    assert tiles_s(SHAPE, ONLY_PRODUCTS, XLATiles()) == pytest.approx((PRODUCT_S, 3 * PRODUCT_S))
    assert triton_s(SHAPE, ONLY_PRODUCTS, Triton()) == pytest.approx((PRODUCT_S, 3 * PRODUCT_S))


def test_logits_that_are_kept_cross_hbm_four_times_forward_and_six_backward():
    only_hbm = GPU(
        bf16_flops=NO_LIMIT, hbm_bytes=1.0, l2_bytes=NO_LIMIT, vector_ops=NO_LIMIT, num_multiprocessors=1
    )
    forward_s, backward_s = naive_s(Shape(num_tokens=2, hidden_size=3, vocab=5), only_hbm)
    assert forward_s == 2 * (6 + 15) + 4 * 2 * 10
    assert backward_s == 2 * 2 * (6 + 15) + 4 * 2 * 10


def test_wider_blocks_read_less_from_the_cache():
    only_cache = dataclasses.replace(ONLY_PRODUCTS, bf16_flops=NO_LIMIT, l2_bytes=7e12)
    wide = Triton()
    half = dataclasses.replace(wide, narrow=dataclasses.replace(wide.narrow, vocab=128))
    ratio = triton_s(SHAPE, only_cache, half)[0] / triton_s(SHAPE, only_cache, wide)[0]
    assert ratio == pytest.approx((1 / 128 + 1 / 128) / (1 / 128 + 1 / 256))


def test_the_last_wave_of_programs_leaves_multiprocessors_idle():
    """64 blocks of tokens in 8 splits are 512 programs: four waves of 132, of which 16 places stay empty."""
    full = triton_s(SHAPE, ONLY_PRODUCTS, Triton())[0]
    real = triton_s(SHAPE, dataclasses.replace(ONLY_PRODUCTS, num_multiprocessors=132), Triton())[0]
    assert real / full == pytest.approx(528 / 512)

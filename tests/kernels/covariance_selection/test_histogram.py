"""Every histogram counts what numpy counts, the TPU kernel under an interpreter that looks for races."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from pallas_kernels.covariance_selection import MosaicHistogram, XLAHistogram
from pallas_kernels.covariance_selection.descent import Descent
from pallas_kernels.covariance_selection.reduction import Reduction

from .cases import INTERPRETER, no_races

HISTOGRAMS = {f"xla{bits}": XLAHistogram(digit_bits=bits) for bits in (1, 2, 4, 8, 16)} | {
    "mosaic": MosaicHistogram(block_tokens=256, interpret=INTERPRETER)
}
every_histogram = pytest.mark.parametrize("histogram", HISTOGRAMS.values(), ids=HISTOGRAMS)


@partial(jax.jit, static_argnums=0)
def counts(histogram, key, prefix, shift):
    return histogram.counts(key, prefix, shift)


def expected_counts(key, prefix, shift, bits):
    rest = [int(k) >> shift for k in key]
    return [
        np.bincount([r % 2**bits for r in rest if r >> bits == int(p)], minlength=2**bits) for p in prefix
    ]


@every_histogram
@pytest.mark.parametrize("num_keys", [1, 700])
def test_counts_equal_numpy(histogram, num_keys):
    bits = histogram.bits
    rng = np.random.default_rng(num_keys)
    key = rng.integers(0, 2**32, num_keys, np.uint32)
    key[::3] = 0xFFFFFFFF
    for shift in {32 - bits, 32 - 2 * bits, 0}:
        head = (key.astype(np.uint64) >> np.uint64(shift + bits)).astype(np.uint32)
        prefix = np.concatenate([head[[0, -1, 0]], np.uint32([(2**32 - 1) >> (shift + bits)])])
        with no_races(histogram):
            got = counts(histogram, jnp.asarray(key), jnp.asarray(prefix), jnp.int32(shift))
            np.testing.assert_array_equal(got, expected_counts(key, prefix, shift, bits))


@every_histogram
def test_the_descent_finds_every_rank_with_its_neighbours(histogram):
    rng = np.random.default_rng(3)
    key = np.sort(rng.choice(rng.integers(0, 2**32, 40, np.uint32), 257))
    ranks = np.int32([0, 1, 40, 41, 255, 256])
    descent = Descent(histogram=histogram, reduction=Reduction())
    with no_races(histogram):
        got = jax.jit(descent.at_ranks)(jnp.asarray(rng.permutation(key)), jnp.asarray(ranks))
        np.testing.assert_array_equal(got.key_R, key[ranks])
    np.testing.assert_array_equal(got.num_below_R, [(key < key[r]).sum() for r in ranks])
    np.testing.assert_array_equal(got.num_equal_R, [(key == key[r]).sum() for r in ranks])


def test_a_race_would_be_noticed():
    def copy_without_waiting(x_ref, out_ref, scratch_ref, semaphore):
        copy = pltpu.make_async_copy(x_ref, scratch_ref, semaphore)
        copy.start()
        out_ref[...] = scratch_ref[...]
        copy.wait()

    x = jnp.ones((8, 128))
    racy = pl.pallas_call(
        copy_without_waiting,
        out_shape=jax.ShapeDtypeStruct(x.shape, x.dtype),
        in_specs=[pl.BlockSpec(memory_space=pl.ANY)],
        scratch_shapes=[pltpu.VMEM(x.shape, x.dtype), pltpu.SemaphoreType.DMA],
        interpret=INTERPRETER,
    )
    # Newer releases raise an error of their own, and leave the interpreter's memory as it was then.
    with pytest.raises((AssertionError, jax.errors.JaxRuntimeError)), no_races(HISTOGRAMS["mosaic"]):
        jax.block_until_ready(racy(x))
    pltpu.reset_tpu_interpret_mode_state()


def test_a_setting_out_of_range_is_an_error_that_says_so():
    with pytest.raises(ValueError, match="digit_bits must be"):
        XLAHistogram(digit_bits=3)
    with pytest.raises(ValueError, match="block_tokens must be"):
        MosaicHistogram(block_tokens=100)

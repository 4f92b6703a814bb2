"""Token statistics on TPU chips that need not be there: compiled memory, counted work and modelled time.

The TPU compiler (the `libtpu` package) compiles forward and backward for one chip of a topology and tells the
temporary memory. Passes, bytes and time are counted from the kernels' grids and blocks
(`pallas_kernels.token_statistics.mosaic_cost`); nothing here is measured.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from entropy_rl.plan.topology import tpu_devices
from pallas_kernels.chips import MIB, TPU_CHIPS
from pallas_kernels.token_statistics import (
    Implementation,
    Mosaic,
    token_statistics,
    token_statistics_reference,
)
from pallas_kernels.token_statistics.implementation import VocabAxis
from pallas_kernels.token_statistics.mosaic_cost import Cost, modelled_cost


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Sizes of one call: all operands on one chip."""

    num_tokens: int
    hidden_size: int
    vocab: int
    dtype: str


UPDATE_OF_7B = Workload(num_tokens=8192, hidden_size=3584, vocab=152_064, dtype="bfloat16")
"""An optimiser micro-batch of Qwen2.5-7B."""


@dataclass(frozen=True, kw_only=True)
class TPURow:
    """Forward and backward of log-probs and entropies on one chip."""

    chip: str
    vocab_axis: int
    temp_mib: float
    """Temporary memory that the compiler reserves."""
    naive_temp_mib: float
    """The same of all logits at once; nan where that was not asked for or does not fit the chip."""
    passes: int
    """Matrix products of the size of all logits."""
    hbm_gb: float
    """Bytes between HBM and VMEM, in 1e9."""
    matrix_ms: float
    """The matrix units' time for the passes."""
    hbm_ms: float
    vector_ms: float
    modelled_ms: float
    ratio: float
    """Modelled time over the matrix units' time."""


def tpu_statistics_rows(
    workload: Workload = UPDATE_OF_7B,
    *,
    chips: Iterable[str] = tuple(TPU_CHIPS),
    vocab_axes: Iterable[VocabAxis] = (0, 1),
    with_naive: bool = False,
) -> list[TPURow]:
    """A row for each chip and layout of the head; raises RuntimeError without `libtpu`."""
    rows = []
    for chip in chips:
        for vocab_axis in vocab_axes:
            naive_temp = naive_temp_bytes(chip, workload, vocab_axis) if with_naive else math.nan
            temp, cost = temp_bytes(chip, workload, vocab_axis), cost_of(chip, workload, vocab_axis)
            row = TPURow(
                chip=chip,
                vocab_axis=vocab_axis,
                temp_mib=temp / MIB,
                naive_temp_mib=naive_temp / MIB,
                passes=cost.passes,
                hbm_gb=cost.hbm_bytes / 1e9,
                matrix_ms=1e3 * cost.ideal_s,
                hbm_ms=1e3 * cost.hbm_s,
                vector_ms=1e3 * cost.vector_s,
                modelled_ms=1e3 * cost.modelled_s,
                ratio=cost.ratio,
            )
            rows.append(row)
    return rows


def implementation_for(chip: str, workload: Workload) -> Mosaic:
    """The kernels with the chip's own tiles."""
    return Mosaic.for_chip(chip, hidden_size=workload.hidden_size, dtype=workload.dtype)


def cost_of(chip: str, workload: Workload, vocab_axis: VocabAxis) -> Cost:
    """Counted work and modelled time; needs no compiler."""
    return modelled_cost(
        implementation_for(chip, workload),
        TPU_CHIPS[chip],
        num_tokens=workload.num_tokens,
        hidden_size=workload.hidden_size,
        vocab=workload.vocab,
        vocab_axis=vocab_axis,
        dtype=jnp.dtype(workload.dtype),
    )


def temp_bytes(
    chip: str,
    workload: Workload,
    vocab_axis: VocabAxis,
    *,
    implementation: Implementation | None = None,
    valid_vocab_size: int | None = None,
) -> int:
    """Temporary memory of the kernels' forward and backward, compiled for one chip."""
    chosen = implementation or implementation_for(chip, workload)

    def values(hidden_TD, head, label_T):
        return token_statistics(
            hidden_TD,
            head,
            label_T,
            vocab_axis=vocab_axis,
            valid_vocab_size=valid_vocab_size,
            implementation=chosen,
        )

    return _compiled_temp_bytes(chip, workload, vocab_axis, values)


def naive_temp_bytes(chip: str, workload: Workload, vocab_axis: VocabAxis) -> int | float:
    """The same of all logits at once and autodiff; nan where the chip cannot hold them."""

    def values(hidden_TD, head, label_T):
        return token_statistics_reference(hidden_TD, head, label_T, vocab_axis=vocab_axis)

    try:
        return _compiled_temp_bytes(chip, workload, vocab_axis, values)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" in str(error):
            return math.nan
        raise


def _compiled_temp_bytes(chip: str, workload: Workload, vocab_axis: VocabAxis, values: Callable) -> int:
    """Of `values(hidden, head, label)` and its gradients."""
    devices = tpu_devices(TPU_CHIPS[chip].topology)
    one_chip = NamedSharding(Mesh(np.array(devices[:1]), ("chip",)), PartitionSpec())

    def array(shape, dtype):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=one_chip)

    def values_and_gradients(hidden_TD, head, label_T, bars):
        outputs, pull = jax.vjp(lambda h, w: values(h, w, label_T), hidden_TD, head)
        return outputs, pull(bars)

    size, vocab, num_tokens = workload.hidden_size, workload.vocab, workload.num_tokens
    bar_T = array((num_tokens,), jnp.float32)
    program = jax.jit(values_and_gradients).lower(
        array((num_tokens, size), workload.dtype),
        array((vocab, size) if vocab_axis == 0 else (size, vocab), workload.dtype),
        array((num_tokens,), jnp.int32),
        (bar_T, bar_T),
    )
    return program.compile().memory_analysis().temp_size_in_bytes

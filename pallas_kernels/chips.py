"""Facts of the accelerators for which kernels choose tiles and for which their time is modelled."""

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class TPUChip:
    """One chip; where it has two tensor cores, XLA sees them as one device, and both share the memory.

    Peak, bandwidth and capacities are those of the Cloud TPU documentation and of Google's "How to Scale
    Your Model" (chapter 2), which also gives the vector unit: 8 x 128 lanes of 4 units at the clock.
    """

    topology: str
    """The smallest topology of the chip that the TPU compiler takes by name."""
    num_cores: int
    bf16_flops: float
    """Peak of the matrix units, FLOP/s."""
    hbm_bytes_per_s: float
    vmem_bytes: int
    """Vector memory of one core."""
    matrix_unit_depth: int
    """Rows of one matrix unit: how many terms of a product it adds up by itself."""
    clock_hz: float

    @property
    def vector_ops(self) -> float:
        """Peak of the vector units, 32-bit operations per second."""
        return self.num_cores * 4 * 8 * 128 * self.clock_hz


TPU_CHIPS = {
    "v4": TPUChip(
        topology="v4:2x2x1",
        num_cores=2,
        bf16_flops=275e12,
        hbm_bytes_per_s=1228e9,
        vmem_bytes=16 * MIB,
        matrix_unit_depth=128,
        clock_hz=1.05e9,
    ),
    "v5e": TPUChip(
        topology="v5e:2x2",
        num_cores=1,
        bf16_flops=197e12,
        hbm_bytes_per_s=819e9,
        vmem_bytes=128 * MIB,
        matrix_unit_depth=128,
        clock_hz=1.5e9,
    ),
    "v5p": TPUChip(
        topology="v5p:2x2x1",
        num_cores=2,
        bf16_flops=459e12,
        hbm_bytes_per_s=2765e9,
        vmem_bytes=64 * MIB,
        matrix_unit_depth=128,
        clock_hz=1.75e9,
    ),
    "v6e": TPUChip(
        topology="v6e:2x2",
        num_cores=1,
        bf16_flops=918e12,
        hbm_bytes_per_s=1638e9,
        vmem_bytes=128 * MIB,
        matrix_unit_depth=256,
        clock_hz=1.75e9,  # of the peak: two units, and the compiler issues 16 rows to each every 8 cycles
    ),
}

_DEVICE_KINDS = {
    "TPU v4": "v4",
    "TPU v5 lite": "v5e",
    "TPU v5e": "v5e",
    "TPU v5": "v5p",
    "TPU v5p": "v5p",
    "TPU v6 lite": "v6e",
    "TPU v6e": "v6e",
}
"""Names in `TPU_CHIPS` by what a `jax.Device` calls itself."""


def tpu_chip_of(device_kind: str) -> str | None:
    """The chip's name in `TPU_CHIPS` by its `jax.Device.device_kind`; None where it is not known."""
    return _DEVICE_KINDS.get(device_kind)

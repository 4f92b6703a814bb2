"""Facts of the accelerators for which kernels choose tiles and for which time and memory are planned."""

from dataclasses import dataclass
from typing import ClassVar

MIB = 1 << 20
GIB = 1 << 30


@dataclass(frozen=True, kw_only=True)
class TPUChip:
    """One chip; where it has two tensor cores, XLA sees them as one device, and both share the memory.

    Peak, bandwidths and capacities are those of the Cloud TPU documentation and of Google's "How to Scale
    Your Model" (chapter 2), which also gives the vector unit: 8 x 128 lanes of 4 units at the clock.
    """

    platform: ClassVar[str] = "tpu"

    topology: str
    """The smallest topology of the chip that the TPU compiler takes by name."""
    num_cores: int
    bf16_flops: float
    """Peak of the matrix units, FLOP/s."""
    hbm_bytes_per_s: float
    usable_bytes: int
    """High-bandwidth memory that the TPU compiler gives one program, by its own message about a program that
    needs more: a quarter of a gibibyte to one and a quarter below what the data sheet says."""
    link_bytes_per_s: float
    """One link between chips, one way."""
    torus_dimensions: int
    """Each dimension of the torus gives a chip two links."""
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
        usable_bytes=int(30.75 * GIB),
        link_bytes_per_s=45e9,
        torus_dimensions=3,
        vmem_bytes=16 * MIB,
        matrix_unit_depth=128,
        clock_hz=1.05e9,
    ),
    "v5e": TPUChip(
        topology="v5e:2x2",
        num_cores=1,
        bf16_flops=197e12,
        hbm_bytes_per_s=819e9,
        usable_bytes=int(15.75 * GIB),
        link_bytes_per_s=45e9,
        torus_dimensions=2,
        vmem_bytes=128 * MIB,
        matrix_unit_depth=128,
        clock_hz=1.5e9,
    ),
    "v5p": TPUChip(
        topology="v5p:2x2x1",
        num_cores=2,
        bf16_flops=459e12,
        hbm_bytes_per_s=2765e9,
        usable_bytes=int(95.74 * GIB),
        link_bytes_per_s=90e9,
        torus_dimensions=3,
        vmem_bytes=64 * MIB,
        matrix_unit_depth=128,
        clock_hz=1.75e9,
    ),
    "v6e": TPUChip(
        topology="v6e:2x2",
        num_cores=1,
        bf16_flops=918e12,
        hbm_bytes_per_s=1638e9,
        usable_bytes=int(31.25 * GIB),
        link_bytes_per_s=90e9,
        torus_dimensions=2,
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


@dataclass(frozen=True, kw_only=True)
class GPUChip:
    """One GPU of a node; all of a node reach each other through NVLink switches, nodes through a network.

    Numbers are those of the vendor's data sheets (SXM boards, products of dense matrices) and of the DGX
    H100/H200 user guide: 18 NVLinks of 50 GB/s both ways, one adapter of 400 Gbit/s a GPU.
    """

    platform: ClassVar[str] = "gpu"

    device_kind: str
    bf16_flops: float
    hbm_bytes_per_s: float
    memory_bytes: int
    node_bytes_per_s: float = 450e9
    """What a GPU sends within its node, one way."""
    network_bytes_per_s: float = 50e9
    """What a GPU sends to other nodes, one way."""
    memory_fraction: float = 0.9
    """Share of the memory that the process may take: the rest is left to CUDA, cuDNN and NCCL. Run with
    XLA_PYTHON_CLIENT_MEM_FRACTION set to it; JAX's default is 0.75."""

    @property
    def usable_bytes(self) -> int:
        """Memory that programs may count on."""
        return int(self.memory_fraction * self.memory_bytes)

    def compiler_target(self) -> str:
        """What XLA's compiler must know of a GPU that is not there: a `GpuTargetConfig` of Hopper as text."""
        return f"""
            gpu_device_info {{
              cuda_compute_capability {{ major: 9 minor: 0 }} core_count: 132 fpus_per_core: 128
              clock_rate_ghz: 1.98 threads_per_warp: 32 threads_per_block_limit: 1024
              threads_per_core_limit: 2048 shared_memory_per_block: 49152
              shared_memory_per_block_optin: 232448 shared_memory_per_core: 233472
              registers_per_block_limit: 65536 registers_per_core_limit: 65536 l2_cache_size: 52428800
              block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
              memory_bandwidth: {int(self.hbm_bytes_per_s)} device_memory_size: {self.memory_bytes}
            }}
            platform_name: "CUDA" dnn_version_info {{ major: 9 minor: 10 }}
            device_description_str: "{self.device_kind}"
        """


GPU_CHIPS = {
    "h100": GPUChip(
        device_kind="NVIDIA H100",
        bf16_flops=989e12,
        hbm_bytes_per_s=3.35e12,
        memory_bytes=80_000_000_000,
    ),
    "h200": GPUChip(
        device_kind="NVIDIA H200",
        bf16_flops=989e12,
        hbm_bytes_per_s=4.8e12,
        memory_bytes=141_000_000_000,
    ),
}

Chip = TPUChip | GPUChip

"""Which implementation of each kernel suits the devices of a mesh, and how a policy comes to use them."""

import warnings
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from entropy_rl.models.config import Qwen2Config
from entropy_rl.models.policy import Policy
from entropy_rl.models.training_attention import (
    CuDNNAttention,
    SplashAttention,
    TrainingAttention,
    XLAAttention,
)
from entropy_rl.parallelism import MeshConfig, axes_of
from pallas_kernels.chips import tpu_chip_of
from pallas_kernels.covariance_selection import CovarianceSelector, MosaicHistogram, XLAHistogram
from pallas_kernels.sharding import Shards
from pallas_kernels.token_statistics import Implementation, Mosaic, Triton, XLATiles


@dataclass(frozen=True, kw_only=True)
class KernelConfig:
    """Which implementation computes what. None takes the one that suits the devices; results are the same."""

    statistics: XLATiles | Mosaic | Triton | None = None
    """Log-probs and entropies from hidden states."""
    attention: XLAAttention | SplashAttention | CuDNNAttention | None = None
    """Attention of whole sequences. Whether cuDNN's takes packed rows follows batch.layout, not what is set
    here."""
    histogram: XLAHistogram | MosaicHistogram | None = None
    """Counting, for the choice of covariance tokens."""


PLAIN = KernelConfig(statistics=XLATiles(), attention=XLAAttention(), histogram=XLAHistogram())


@dataclass(frozen=True, kw_only=True)
class Kernels:
    """The implementations of one mesh."""

    statistics: Implementation
    attention: TrainingAttention
    selector: CovarianceSelector
    shards: Shards | None

    @classmethod
    def of(
        cls,
        mesh: Mesh,
        architecture: Qwen2Config,
        compute_dtype: str,
        chosen: KernelConfig = KernelConfig(),
        *,
        packed: bool = False,
    ) -> "Kernels":
        """Those that were chosen, and for the rest those that suit the mesh's devices.

        With `packed`, attention is one that takes several segments in a row.
        """
        filled = fill(chosen, mesh.devices.flat[0], architecture, compute_dtype)
        attention = filled.attention
        if packed and isinstance(attention, CuDNNAttention):
            attention = replace(attention, packed=True)
        shards = None
        if mesh.size > 1:
            shards = Shards(
                mesh=mesh,
                tokens=axes_of("batch"),
                vocabulary=_only_axis("vocab"),
                heads=_only_axis("heads"),
                hidden=_only_axis("embed"),
            )
        return cls(
            statistics=filled.statistics,
            attention=attention,
            selector=CovarianceSelector(histogram=filled.histogram, shards=shards),
            shards=shards,
        )

    @classmethod
    def of_one_device(cls, architecture: Qwen2Config, compute_dtype: str) -> "Kernels":
        """Those that suit the first device there is."""
        return cls.of(MeshConfig().build(), architecture, compute_dtype)

    def equip(self, policy: Policy) -> Policy:
        """The policy with these kernels."""
        return replace(policy, statistics=self.statistics, attention=self.attention, shards=self.shards)


def _only_axis(logical_axis: str) -> str | None:
    """The mesh axis that cuts such a dimension, if any. Raises ValueError for several."""
    axes = axes_of(logical_axis)
    if len(axes) > 1:
        raise ValueError(f"kernels know one mesh axis for {logical_axis!r}, got {axes}; change the table")
    return axes[0] if axes else None


def fill(
    chosen: KernelConfig, device: jax.Device, architecture: Qwen2Config, compute_dtype: str
) -> KernelConfig:
    """`chosen` with the best known implementation for this device in place of each None.

    Where there is none but plain XLA although the device is an accelerator, a warning says why.
    """
    if None not in (chosen.statistics, chosen.attention, chosen.histogram):
        return chosen
    suited, reason = _suited(device, architecture, compute_dtype)
    if reason is not None:
        warnings.warn(
            f"{reason}: plain XLA is used instead; to choose otherwise, give the configuration file "
            "kernels=KernelConfig(...)",
            stacklevel=3,
        )
    return KernelConfig(
        statistics=chosen.statistics or suited.statistics,
        attention=chosen.attention or suited.attention,
        histogram=chosen.histogram or suited.histogram,
    )


def selector_beside(
    policy: Policy, device: jax.Device, chosen: KernelConfig = KernelConfig()
) -> CovarianceSelector:
    """The selector for a policy that has its kernels: nothing is told again that was told of these."""
    suited, _ = _suited(device, policy.config, policy.compute_dtype)
    return CovarianceSelector(histogram=chosen.histogram or suited.histogram, shards=policy.shards)


def _suited(
    device: jax.Device, architecture: Qwen2Config, compute_dtype: str
) -> tuple[KernelConfig, str | None]:
    """(the best there is, why it is plain XLA if it is)."""
    if device.platform == "tpu":
        return _suited_to_tpu(device.device_kind, architecture.hidden_size, compute_dtype)
    if device.platform in ("gpu", "cuda"):
        return _suited_to_gpu(device, architecture.head_dim, compute_dtype)
    return PLAIN, None


def _suited_to_tpu(device_kind: str, hidden_size: int, dtype: str) -> tuple[KernelConfig, str | None]:
    """(the best there is, why it is plain XLA if it is)."""
    chip = tpu_chip_of(device_kind)
    if chip is None:
        return PLAIN, f"there are no kernels for {device_kind!r} yet"
    rest = KernelConfig(statistics=XLATiles(), attention=SplashAttention(), histogram=MosaicHistogram())
    try:
        statistics = Mosaic.for_chip(chip, hidden_size=hidden_size, dtype=dtype)
    except ValueError as error:
        return rest, f"token statistics: {error}"
    return replace(rest, statistics=statistics), None


def _suited_to_gpu(device: jax.Device, head_dim: int, dtype: str) -> tuple[KernelConfig, str | None]:
    """(the best there is, why it is plain XLA if it is).

    Token statistics stay with XLA's own products: the Triton kernels have not been measured against them.
    """
    if jnp.dtype(dtype).itemsize != 2:
        return PLAIN, None  # cuDNN's attention is of 16 bits only, as everybody knows who sets f32
    capability = getattr(device, "compute_capability", "0")
    if "NVIDIA" not in device.device_kind or float(capability) < 8 or head_dim % 8 or head_dim > 128:
        needs = "an NVIDIA GPU of compute capability 8 or more and heads of 8, 16, ... 128"
        return PLAIN, f"cuDNN's attention needs {needs}; got {device.device_kind!r} and {head_dim}"
    return replace(PLAIN, attention=CuDNNAttention()), None

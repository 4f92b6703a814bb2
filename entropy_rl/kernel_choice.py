"""Which implementation of each kernel suits the devices of a mesh, and how a policy comes to use them."""

import warnings
from dataclasses import dataclass, replace

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
from entropy_rl.parallelism.mesh import RULES
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
    """Attention of whole sequences."""
    histogram: XLAHistogram | MosaicHistogram | None = None
    """Counting, for the choice of covariance tokens."""


@dataclass(frozen=True, kw_only=True)
class Kernels:
    """The implementations of one mesh."""

    statistics: Implementation
    attention: TrainingAttention
    selector: CovarianceSelector
    shards: Shards | None

    @classmethod
    def of(
        cls, mesh: Mesh, architecture: Qwen2Config, compute_dtype: str, chosen: KernelConfig = KernelConfig()
    ) -> "Kernels":
        """Those that were chosen, and for the rest those that suit the mesh's devices."""
        device = mesh.devices.flat[0]
        suited = suited_to(device.platform, device.device_kind, architecture.hidden_size, compute_dtype)
        shards = None
        if mesh.size > 1:
            shards = Shards(mesh=mesh, tokens=RULES["batch"], vocabulary=RULES["vocab"])
        attention = chosen.attention or suited.attention
        if not isinstance(attention, XLAAttention):
            attention = replace(attention, shards=shards, heads=None if shards is None else RULES["heads"])
        return cls(
            statistics=chosen.statistics or suited.statistics,
            attention=attention,
            selector=CovarianceSelector(histogram=chosen.histogram or suited.histogram, shards=shards),
            shards=shards,
        )

    def equip(self, policy: Policy) -> Policy:
        """The policy with these kernels."""
        return replace(policy, statistics=self.statistics, attention=self.attention, shards=self.shards)


PLAIN = KernelConfig(statistics=XLATiles(), attention=XLAAttention(), histogram=XLAHistogram())


def suited_to(platform: str, device_kind: str, hidden_size: int, compute_dtype: str) -> KernelConfig:
    """The best known implementation of each kernel for a `jax.Device`, by its platform and kind.

    Warns where it is plain XLA only because a TPU is not known.
    """
    if platform == "tpu":
        chip = tpu_chip_of(device_kind)
        if chip is not None:
            return KernelConfig(
                statistics=Mosaic.for_chip(chip, hidden_size=hidden_size, dtype=compute_dtype),
                attention=SplashAttention(),
                histogram=MosaicHistogram(),
            )
        warnings.warn(
            f"there are no kernels for {device_kind!r} yet, plain XLA is used instead; set "
            "kernels.statistics, kernels.attention and kernels.histogram to choose others",
            stacklevel=3,
        )
    # The Triton kernels are not the default before they have been measured against XLA's own products.
    if platform in ("gpu", "cuda") and jnp.dtype(compute_dtype).itemsize == 2:
        return replace(PLAIN, attention=CuDNNAttention())
    return PLAIN

"""Slices of TPUs and nodes of GPUs by name, and their devices, which need not be there to compile for."""

import math
import os
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

import jax
import numpy as np
from jax.experimental import topologies

from pallas_kernels.chips import GPU_CHIPS, TPU_CHIPS, Chip, TPUChip

_TPU_COMPILER = ("libtpu", "tpu")
_GPU_COMPILER = ("jax_cuda13_plugin", "cuda13")
"""Package that brings a compiler, and the extra of jax that installs it."""

_making_devices = threading.Lock()
"""Of two threads that ask at once, each would get devices of its own."""


@dataclass(frozen=True, kw_only=True)
class Topology:
    """Chips and how they are connected, e.g. v5p:4x4x8 (a torus) or h100:2x8 (nodes x GPUs)."""

    name: str
    """As libtpu takes it, or the GPU's name and nodes x GPUs of a node (or GPUs of one node alone)."""
    chip: Chip
    shape: tuple[int, ...]
    """Chips along each dimension; nodes and GPUs of a node."""

    @classmethod
    def of(cls, name: str) -> "Topology":
        """The topology of that name. Raises ValueError when there is no such chip."""
        chip_name, _, sizes = name.partition(":")
        chips = TPU_CHIPS | GPU_CHIPS
        if chip_name not in chips or not re.fullmatch(r"\d+(x\d+)*", sizes):
            raise ValueError(
                f"a topology is CHIP:SIZES such as v5p:4x4x8, v6e:8x8 or h100:2x8, with one of the chips "
                f"{', '.join(chips)}; got {name!r}"
            )
        chip, shape = chips[chip_name], tuple(int(size) for size in sizes.split("x"))
        dimensions = chip.torus_dimensions if isinstance(chip, TPUChip) else 2
        if not isinstance(chip, TPUChip) and len(shape) == 1:
            shape = (1, *shape)
        if len(shape) != dimensions or min(shape) < 1:
            raise ValueError(f"{chip_name} has {dimensions} dimensions, all at least 1; got {name!r}")
        return cls(name=name, chip=chip, shape=shape)

    @property
    def num_chips(self) -> int:
        """Chips, each of which is one device to XLA."""
        return math.prod(self.shape)

    @property
    def missing_compiler(self) -> str | None:
        """What must be installed to compile for it; None where all is there."""
        return _missing(_TPU_COMPILER if isinstance(self.chip, TPUChip) else _GPU_COMPILER)

    def devices(self) -> list[jax.Device]:
        """Its devices, the same in every call: programs share shardings, and what differs does not mix.

        Raises RuntimeError without the compiler.
        """
        with _making_devices:
            if isinstance(self.chip, TPUChip):
                return tpu_devices(self.name, **self._compiler_options)
            _require(_GPU_COMPILER, self.name)
            return _gpu_devices(self.chip.compiler_target(), f"1x{self.shape[0]}x{self.shape[1]}")

    @property
    def _compiler_options(self) -> dict[str, str | tuple[int, ...]]:
        # Both cores of a v4 are one device, and a machine has one chip, only where that is asked for.
        options = {"chip_config_name": "megacore"} if self.name.startswith("v4:") else {}
        return options | ({"chips_per_host_bounds": (1, 1, 1)} if self.num_chips == 1 else {})

    def places(self, devices: Sequence[jax.Device] | None = None) -> np.ndarray:
        """Where devices lie, [devices, dimensions]; without any, where its chips would, in order."""
        if devices is None:
            return np.stack(np.unravel_index(np.arange(self.num_chips), self.shape), axis=1)
        if isinstance(self.chip, TPUChip):
            return np.array([device.coords[: len(self.shape)] for device in devices])
        return np.array([divmod(device.id, self.shape[1]) for device in devices])

    def bytes_per_s(self, places: np.ndarray) -> float:
        """What one chip of a group at these places can send at most to others of it, bytes a second.

        Each dimension in which the group extends gives a chip of a TPU two links where the group goes all
        round it, and one else. Groups that lie between one another, as 0, 2 and 1, 3 of four chips do, share
        these links. GPUs of one node use NVLink, and a group over several nodes is as slow as the network
        between them.
        """
        if isinstance(self.chip, TPUChip):
            links = sum(self._links(column, size) for column, size in zip(places.T, self.shape, strict=True))
            return links * self.chip.link_bytes_per_s
        extends_over_nodes = len(set(places[:, 0])) > 1
        return self.chip.network_bytes_per_s if extends_over_nodes else self.chip.node_bytes_per_s

    def _links(self, column: np.ndarray, size: int) -> float:
        """A chip's share of links along a dimension of that size, in which its group has these places."""
        taken = np.unique(column)
        if len(taken) == 1:
            return 0.0
        stride = int(np.diff(taken).min())
        goes_round = self._wraps and len(taken) * stride == size
        return (2 if goes_round else 1) / stride

    @property
    def _wraps(self) -> bool:
        """Whether its ends are connected: of slices made of whole cubes of 4 x 4 x 4, and of 16 x 16 chips
        where a torus has two dimensions (Cloud TPU documentation)."""
        unit = 4 if len(self.shape) == 3 else 16
        return all(size % unit == 0 for size in self.shape)


def _missing(compiler: tuple[str, str]) -> str | None:
    package, extra = compiler
    return None if find_spec(package) else f'pip install "jax[{extra}]=={jax.__version__}"'


def _require(compiler: tuple[str, str], topology_name: str) -> None:
    if (command := _missing(compiler)) is not None:
        raise RuntimeError(
            f"compiling for {topology_name} needs the compiler that belongs to jax; install it: {command}"
        )


@cache
def _gpu_devices(target_config: str, topology: str) -> list[jax.Device]:
    return topologies.get_topology_desc(
        platform="cuda", topology_name="", target_config=target_config, topology=topology
    ).devices


@cache
def tpu_devices(topology_name: str, **options: str | tuple[int, ...]) -> list[jax.Device]:
    """The devices of a topology such as v5e:2x2. Raises RuntimeError without the TPU compiler."""
    _require(_TPU_COMPILER, topology_name)
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # do not look for a TPU's metadata in the network
    return topologies.get_topology_desc(platform="tpu", topology_name=topology_name, **options).devices

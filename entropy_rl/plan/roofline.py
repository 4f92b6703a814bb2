"""The least time a chip needs: the longest of arithmetic, memory traffic and network traffic.

Nothing is added for latency, for starting programs or for imperfect overlap: no program is faster, real ones
take more. "Roofline: An Insightful Visual Performance Model" (Williams et al., 2009).
"""

from dataclasses import dataclass

import numpy as np

from entropy_rl.plan.collectives import Collective
from entropy_rl.plan.job import Job
from entropy_rl.plan.topology import Topology
from entropy_rl.plan.work import Work
from pallas_kernels.chips import Chip


@dataclass(frozen=True, kw_only=True)
class Times:
    """Seconds of one execution of a program on one chip, by what takes them."""

    compute: float
    memory: float
    network: float

    @property
    def seconds(self) -> float:
        """The roofline: all three at the same time."""
        return max(self.compute, self.memory, self.network)

    @property
    def bound(self) -> str:
        """Which of them it is."""
        return max(("compute", "memory", "network"), key=lambda name: getattr(self, name))


def times(chip: Chip, work: Work, network_seconds: float) -> Times:
    """Of that work on that chip; products in 16 bits."""
    return Times(
        compute=work.flops / chip.bf16_flops,
        memory=work.hbm_bytes / chip.hbm_bytes_per_s,
        network=network_seconds,
    )


def seconds_of(collectives: list[Collective], topology: Topology, places: np.ndarray) -> float:
    """One after another over the links that each has; `places` are those of the mesh's devices in order."""
    seconds = (
        collective.times * collective.bytes_sent / topology.bytes_per_s(places[list(collective.members)])
        for collective in collectives
    )
    return sum(seconds, start=0.0)


def seconds_of_axes(sent: dict[str, float], job: Job) -> float:
    """The same of traffic along mesh axes, laid over the chips in their order, the last axis the densest."""
    mesh, places = job.config.mesh, job.topology.places()
    numbers = np.arange(job.topology.num_chips).reshape(mesh.data, mesh.fsdp, mesh.tensor)
    groups = {"data": numbers[:, 0, 0], "fsdp": numbers[0, :, 0], "tensor": numbers[0, 0, :]}
    seconds = (
        value / job.topology.bytes_per_s(places[groups[axis]]) for axis, value in sent.items() if value
    )
    return sum(seconds, start=0.0)

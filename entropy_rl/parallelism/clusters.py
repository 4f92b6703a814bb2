"""What the environment says of the processes of a run: TPU pods, SLURM, Open MPI, Kubernetes job sets.

jax knows how to ask each of them for an address. It does not say whether there is anything to ask: a shell on
a SLURM node, a TPU VM of its own and any pod of Kubernetes look like parts of a run to it. Nor does it say
when it could not ask, and then every process would take itself for the whole run.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass

from jax._src import clusters  # the one list of what jax can ask; it has no public name

INITIALIZATION_TIMEOUT_SECONDS = 300


@dataclass(frozen=True, kw_only=True)
class Membership:
    """A process's place in a run."""

    coordinator: str
    """HOST:PORT of process 0."""
    num_processes: int
    process_id: int
    local_device_ids: tuple[int, ...] | None = None
    """The accelerators of this machine that are this process's; None: all that it sees."""


@dataclass(frozen=True, kw_only=True)
class Launcher:
    """One way in which several processes are started."""

    name: str
    says_several: Callable[[], bool]
    """Whether the environment speaks of more than one process; asks nobody."""
    asked: tuple[type[clusters.ClusterEnv], ...]
    """What jax knows of it, by preference."""
    when_absent: str
    """What to do when jax cannot ask any of them."""
    num_local_processes: Callable[[], int | None] = lambda: None
    """Processes on this machine; None: each has its own machine."""

    def membership(self) -> Membership | None:
        """This process's place in a run of several; None in one of its own."""
        ask = next((cluster for cluster in self.asked if cluster.is_env_present()), None)
        if ask is None:
            raise ValueError(
                f"{self.name} has started several processes, but their addresses are not known; "
                f"{self.when_absent}, or give --coordinator HOST:PORT, --num-processes and --process-id "
                "(or --num-processes 1 for runs on their own)"
            )
        if (num_processes := ask.get_process_count()) == 1:
            return None
        coordinator = ask.get_coordinator_address(
            timeout_secs=INITIALIZATION_TIMEOUT_SECONDS,
            override_coordinator_port=os.environ.get("JAX_COORDINATOR_PORT"),
        )
        return Membership(
            coordinator=coordinator,
            num_processes=num_processes,
            process_id=ask.get_process_id(),
            local_device_ids=self._local_device_ids(ask),
        )

    def _local_device_ids(self, ask: type[clusters.ClusterEnv]) -> tuple[int, ...] | None:
        """One accelerator for each process, where several share a machine that has not divided them."""
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        if (self.num_local_processes() or 1) == 1 or (visible and "," not in visible):
            return None
        local = ask.get_local_process_id()
        return None if local is None else (local,)


def _number(variable: str) -> int:
    value = os.environ.get(variable, "")
    return int(value) if value.isdecimal() else 0


def _on_tpu() -> bool:
    kinds = (clusters.GkeTpuCluster, clusters.GceTpuCluster)
    return os.environ.get("JAX_PLATFORMS") != "cpu" and any(kind.is_env_present() for kind in kinds)


def _slurm_local_processes() -> int:
    return _number("SLURM_STEP_NUM_TASKS") // max(_number("SLURM_STEP_NUM_NODES"), 1)


LAUNCHERS = (
    Launcher(
        name="Open MPI",
        says_several=lambda: _number("OMPI_COMM_WORLD_SIZE") > 1,
        # Since its release 5 only MPI itself knows the addresses.
        asked=(clusters.OmpiCluster, clusters.Mpi4pyCluster),
        when_absent="install mpi4py, by which Open MPI 5 and later are asked",
        num_local_processes=lambda: _number("OMPI_COMM_WORLD_LOCAL_SIZE"),
    ),
    Launcher(
        name="SLURM",
        # Of the step, which srun starts: a batch script is one process, however many tasks its job may have.
        says_several=lambda: _number("SLURM_STEP_NUM_TASKS") > 1,
        asked=(clusters.SlurmCluster,),
        when_absent="start them by srun",
        num_local_processes=_slurm_local_processes,
    ),
    Launcher(
        name="the TPU pod",
        says_several=_on_tpu,
        asked=(clusters.GkeTpuCluster, clusters.GceTpuCluster),
        when_absent="start them on all workers",
    ),
    Launcher(
        name="Kubernetes",
        says_several=lambda: "KUBERNETES_SERVICE_HOST" in os.environ and "JOB_COMPLETION_INDEX" in os.environ,
        asked=(clusters.K8sCluster,),
        when_absent="install jax[k8s]",
    ),
)


def found_membership() -> Membership | None:
    """This process's place in a run of several processes; None where the environment knows of no other."""
    launcher = next((launcher for launcher in LAUNCHERS if launcher.says_several()), None)
    return None if launcher is None else launcher.membership()

"""Where arrays live: the device mesh, the tables from logical axes to its axes, the processes of a run."""

from entropy_rl.parallelism.mesh import (
    SAMPLING_RULES,
    TRAINING_RULES,
    MeshConfig,
    Rules,
    axes_of,
    batch_sharding,
    constrain,
    num_shards,
    parameter_shardings,
    spec_of,
)
from entropy_rl.parallelism.preemption import EXIT_PREEMPTED, AllStop, Preempted, StopRequests
from entropy_rl.parallelism.processes import Processes, fail_together, joined
from entropy_rl.parallelism.rows import (
    gathered,
    held_rows,
    is_main,
    owned_rows,
    rows_on_host,
    share,
    share_rows,
    to_global,
    wait_for_all,
)

__all__ = [
    "EXIT_PREEMPTED",
    "SAMPLING_RULES",
    "TRAINING_RULES",
    "AllStop",
    "MeshConfig",
    "Preempted",
    "Processes",
    "Rules",
    "StopRequests",
    "axes_of",
    "batch_sharding",
    "constrain",
    "fail_together",
    "gathered",
    "held_rows",
    "is_main",
    "joined",
    "num_shards",
    "owned_rows",
    "parameter_shardings",
    "rows_on_host",
    "share",
    "share_rows",
    "spec_of",
    "to_global",
    "wait_for_all",
]

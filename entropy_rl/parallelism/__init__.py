"""Where arrays live: the device mesh and the tables from logical axes to mesh axes."""

from entropy_rl.parallelism.mesh import (
    SAMPLING_RULES,
    TRAINING_RULES,
    MeshConfig,
    Rules,
    batch_sharding,
    constrain,
    parameter_shardings,
    spec_of,
)

__all__ = [
    "SAMPLING_RULES",
    "TRAINING_RULES",
    "MeshConfig",
    "Rules",
    "batch_sharding",
    "constrain",
    "parameter_shardings",
    "spec_of",
]

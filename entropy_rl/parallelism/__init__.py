"""Where arrays live: the device mesh and the one table from logical axes to mesh axes."""

from entropy_rl.parallelism.mesh import RULES, MeshConfig, batch_sharding, parameter_shardings, spec_of

__all__ = ["RULES", "MeshConfig", "batch_sharding", "parameter_shardings", "spec_of"]

"""Devices of TPUs that need not be there, for compiling ahead of time."""

import os
from importlib.util import find_spec

import jax
from jax.experimental import topologies


def tpu_devices(topology_name: str, **options: str) -> list[jax.Device]:
    """The devices of a topology such as v5e:2x2. Raises RuntimeError without the TPU compiler."""
    if find_spec("libtpu") is None:
        raise RuntimeError(
            f"compiling for {topology_name} needs the TPU compiler that belongs to jax; install it: "
            f'pip install "jax[tpu]=={jax.__version__}"'
        )
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # do not look for a TPU's metadata in the network
    return topologies.get_topology_desc(platform="tpu", topology_name=topology_name, **options).devices

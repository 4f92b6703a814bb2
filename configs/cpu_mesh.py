"""The tiny job, shorter, on a mesh of eight devices cut along every axis: a smoke test before renting any.

    ./launch/cpu_mesh.sh

runs it on this machine in two processes of four CPU devices, which meet as those of a cluster do. With eight
devices of one's own: python -m entropy_rl train --config configs/cpu_mesh.py

Nothing but the mesh and the numbers of steps differs from configs/tiny_kl_cov.py.
"""

from dataclasses import replace
from pathlib import Path

from entropy_rl.config import RunConfig
from entropy_rl.config_file import load_config
from entropy_rl.parallelism import MeshConfig


def get_config() -> RunConfig:
    base = load_config(Path(__file__).with_name("tiny_kl_cov.py"))
    return replace(
        base,
        name="cpu_mesh",
        mesh=MeshConfig(data=2, fsdp=2, tensor=2),
        warm_start=replace(base.warm_start, num_steps=100),
        num_steps=10,
        checkpoint_every_steps=5,
    )

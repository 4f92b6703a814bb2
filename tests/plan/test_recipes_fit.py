"""Every configuration on every slice that it names: it fits by formula, and its mesh is one of its chips."""

from pathlib import Path

import numpy as np
import pytest

from entropy_rl.commands.plan import Plan
from entropy_rl.config_file import load_config, topologies_of
from entropy_rl.plan.step import make_plan
from entropy_rl.plan.topology import Topology

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
RUNS = [(path, topology) for path in sorted(CONFIGS.glob("qwen*.py")) for topology in topologies_of(path)]

every_slice = pytest.mark.parametrize(
    ("path", "topology"), RUNS, ids=[f"{path.stem}-{topology}" for path, topology in RUNS]
)


@every_slice
def test_a_recipe_fits_by_formula(path, topology):
    command = Plan(config=path, topology=topology, settings=Plan.load(path, topology))
    (job,) = command._jobs(path)
    plan = make_plan(job, by_formula=True)
    assert plan.fits, f"{plan.peak.name} takes {plan.peak.memory.total:.3g} of {plan.usable_bytes:.3g} bytes"


@every_slice
def test_a_recipe_s_mesh_can_be_laid_over_its_slice(tpu_devices, path, topology):
    chips = Topology.of(topology)
    if chips.missing_compiler is not None:
        pytest.skip(chips.missing_compiler)
    mesh = load_config(path, topology).mesh
    built = mesh.build(chips.devices())
    assert built.devices.shape == (mesh.data, mesh.fsdp, mesh.tensor)
    assert len(np.unique([device.id for device in built.devices.flat])) == chips.num_chips


def test_all_nine_recipes_are_here():
    assert len(RUNS) >= 9 * 2 and all(len(topologies_of(path)) >= 2 for path, _ in RUNS)

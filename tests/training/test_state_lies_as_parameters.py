"""The optimiser's moments are cut as their parameters are."""

from dataclasses import replace

import jax
import pytest

from entropy_rl.config import PolicyConfig
from entropy_rl.models.parameters import logical_axes
from entropy_rl.parallelism import MeshConfig, parameter_shardings
from entropy_rl.training.optimizer import Adafactor, AdamW
from tests.runs import make_config

EVEN = dict(vocab_size=24, hidden_size=12, intermediate_size=20, num_heads=4, num_kv_heads=2)


@pytest.mark.parametrize(
    "optimizer", [AdamW(), AdamW(first_moment_dtype="bfloat16", second_moment_dtype="bfloat16"), Adafactor()]
)
def test_moments_lie_where_their_parameters_do(tmp_path, optimizer):
    config = make_config(tmp_path, mesh=MeshConfig(fsdp=2, tensor=2), optimizer=optimizer, warm_start=None)
    architecture = replace(config.policy.architecture, **EVEN)
    config = replace(config, policy=PolicyConfig(architecture=architecture, compute_dtype="float32"))
    policy = config.policy_of(architecture)
    params = policy.init(jax.random.key(0))
    shardings = parameter_shardings(config.mesh.build(), logical_axes(architecture), params)
    state = config.learner(policy).init(jax.device_put(params, shardings))
    moments = jax.tree.leaves(state.opt_state)
    cut = [moment for moment in moments if not moment.sharding.is_fully_replicated]
    of_params = jax.tree.leaves(state.params)
    of_params = [p for p in jax.tree.leaves(state.params) if not p.sharding.is_fully_replicated]
    copies = 1 if isinstance(optimizer, Adafactor) else 2  # parameters so small are not factored
    for moment, param in zip(cut, of_params * copies, strict=True):
        assert moment.sharding.is_equivalent_to(param.sharding, param.ndim)

"""A fingerprint tells parameters apart, and nothing else."""

import jax
import jax.numpy as jnp
import pytest

from entropy_rl.models.fingerprint import fingerprint
from entropy_rl.models.parameters import logical_axes
from entropy_rl.models.policy import Policy
from entropy_rl.parallelism import MeshConfig, parameter_shardings
from tests.policies import tiny_policy
from tests.processes.job import ARCHITECTURE


def test_it_is_the_same_on_the_host_and_on_any_mesh():
    params = Policy(ARCHITECTURE).init(jax.random.key(0))
    expected = fingerprint(jax.device_get(params))
    assert len(expected) == 32 and fingerprint(params) == expected
    mesh = MeshConfig(data=2, fsdp=2, tensor=2).build()
    cut = jax.device_put(params, parameter_shardings(mesh, logical_axes(ARCHITECTURE), params))
    assert fingerprint(cut) == expected


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.at[3, 5].set(jnp.nextafter(x[3, 5], jnp.float32(9))),
        lambda x: x.at[3, 5].set(-x[3, 5]),
        lambda x: x[::-1],
        lambda x: x.at[:, jnp.array([2, 7])].set(x[:, jnp.array([7, 2])]),
        lambda x: x.astype(jnp.bfloat16),
    ],
)
def test_any_other_value_place_or_dtype_changes_it(change):
    _, params = tiny_policy()
    assert fingerprint(params | {"embedding": change(params["embedding"])}) != fingerprint(params)

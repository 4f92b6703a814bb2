"""Where an update's arrays lie on a mesh: moments and gradients with their parameters, all else whole.

Each is said outright at the end of every program: what a compiler chooses by itself may differ from one
program to the next, and an update that is given another layout than before is compiled again.
"""

import jax
import jax.numpy as jnp
import optax
from jax.sharding import NamedSharding, PartitionSpec

from entropy_rl.models.parameters import logical_axes
from entropy_rl.models.policy import Policy
from entropy_rl.parallelism import parameter_shardings
from entropy_rl.training.optimizer import Optimizer


def laid_as_parameters(policy: Policy, tree):
    """A tree of the parameters' structure and shapes, under `jit`, lying as they do in training."""
    if policy.mesh is None:
        return tree
    return jax.lax.with_sharding_constraint(tree, _shardings(policy, tree))


def laid_whole(policy: Policy, tree):
    """The same arrays, under `jit`, whole on every device."""
    if policy.mesh is None:
        return tree
    return jax.lax.with_sharding_constraint(tree, NamedSharding(policy.mesh, PartitionSpec()))


def laid_as_accumulated(policy: Policy, grads):
    """In f32, and where the parameters lie: so the sum over devices is scattered over fsdp as it is made."""
    return laid_as_parameters(policy, optax.tree.cast(grads, jnp.float32))


def laid_state(policy: Policy, optimizer: Optimizer, opt_state: optax.OptState, params) -> optax.OptState:
    """Moments where their parameters lie; those of other shapes, as factored ones, and counts whole."""
    if policy.mesh is None:
        return opt_state

    def lay(moment, param, sharding):
        if moment.shape != param.shape:
            return laid_whole(policy, moment)
        return jax.lax.with_sharding_constraint(moment, sharding)

    return optax.tree_utils.tree_map_params(
        optimizer.transformation(),
        lay,
        opt_state,
        params,
        _shardings(policy, params),
        transform_non_params=lambda count: laid_whole(policy, count),
    )


def _shardings(policy: Policy, params):
    return parameter_shardings(policy.mesh, logical_axes(policy.config), params)

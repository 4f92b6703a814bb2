"""The parameters as decoding reads them: in the compute dtype, and whole over fsdp."""

from functools import partial

import jax
import jax.numpy as jnp

from entropy_rl.models.parameters import logical_axes
from entropy_rl.models.policy import Params, Policy
from entropy_rl.parallelism import SAMPLING_RULES, TRAINING_RULES, Rules, axes_of, constrain


def differs(policy: Policy, params: Params) -> bool:
    """Whether decoding reads other arrays than these: in another dtype, or otherwise laid out."""
    names = set(jax.tree.leaves(logical_axes(policy.config)))
    moves = any(_cuts(policy, name, TRAINING_RULES) != _cuts(policy, name, SAMPLING_RULES) for name in names)
    cast = jax.eval_shape(partial(_in_compute_dtype, policy), params)
    same = jax.tree.map(lambda new, old: new.dtype == old.dtype, cast, params)
    return moves or not all(jax.tree.leaves(same))


def _cuts(policy: Policy, logical_axis: str, rules: Rules) -> list[str]:
    """The mesh axes of more than one device that cut such a dimension."""
    if policy.mesh is None:
        return []
    return [axis for axis in axes_of(logical_axis, rules) if policy.mesh.shape[axis] > 1]


@partial(jax.jit, static_argnums=0)
def working_params(policy: Policy, params: Params) -> Params:
    """The values that training's own casts give, by SAMPLING_RULES.

    Norms keep their dtype: they are computed in f32. The cast comes first, so that what travels is small.
    """

    def move(axes, x):
        return constrain(x, axes, policy.mesh, SAMPLING_RULES)

    cast = _in_compute_dtype(policy, params)
    return jax.tree.map(move, logical_axes(policy.config), cast, is_leaf=lambda x: isinstance(x, tuple))


def _in_compute_dtype(policy: Policy, params: Params) -> Params:
    def cast(path, x):
        return x if path[-1].key.endswith("norm") else x.astype(jnp.dtype(policy.compute_dtype))

    return jax.tree_util.tree_map_with_path(cast, params)

"""Mesh axes data, fsdp and tensor; a logical axis goes where a table says, and two may not collide."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import jax
from jax.experimental import mesh_utils
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec

Rules = Mapping[str, str | tuple[str, ...] | None]
"""Logical axis name -> mesh axis, several, or none."""

TRAINING_RULES: Rules = {
    "batch": ("data", "fsdp"),  # prompts sampled, and rows learned from, which hold any prompts' sequences
    "positions": "tensor",  # of what passes between layers, where no head and no column cuts it
    "layers": None,  # scanned over, never cut
    "embed": "fsdp",  # parameters and optimiser state at rest; gathered a layer at a time
    "heads": "tensor",
    "kv_heads": "tensor",
    "head_dim": None,
    "mlp": "tensor",
    "vocab": "tensor",  # embedding and output head
}
"""Where parameters, optimiser state and activations of training lie."""

SAMPLING_RULES: Rules = {
    **TRAINING_RULES,
    "embed": None,  # whole over fsdp, or every token would gather the parameters anew
    "draws": ("data", "fsdp", "tensor"),  # rows of logits to draw from: each lies whole on one device
}
"""Where arrays lie while tokens are drawn."""


@dataclass(frozen=True, kw_only=True)
class MeshConfig:
    """Numbers of devices along each mesh axis; their product must be the number of devices used."""

    data: int = 1
    """Replicas of the parameters, each with its own share of the sequences."""
    fsdp: int = 1
    """Shards of parameters and optimiser state, each also with its own share of the sequences: of its own
    prompts while they are sampled, of any while packed rows are learned from."""
    tensor: int = 1
    """Shards of heads, MLP and vocabulary."""

    @property
    def shape(self) -> dict[str, int]:
        """Size of each mesh axis by its name, as `jax.sharding.Mesh.shape`."""
        return {axis.name: getattr(self, axis.name) for axis in fields(self)}

    @property
    def size(self) -> int:
        """Number of devices, as `jax.sharding.Mesh.size`."""
        return math.prod(self.shape.values())

    def __post_init__(self):
        if min(self.shape.values()) < 1:
            raise ValueError(f"mesh axes must be at least 1, got {self}")

    def build(self, devices: Sequence[jax.Device] | None = None) -> Mesh:
        """The mesh over the first data * fsdp * tensor of `devices` (default: all there are)."""
        devices = jax.devices() if devices is None else devices
        if self.size > len(devices):
            raise ValueError(
                f"a mesh of {self.data} x {self.fsdp} x {self.tensor} needs {self.size} devices, "
                f"found {len(devices)}; lower mesh.data, mesh.fsdp or mesh.tensor"
            )
        # Not jax.make_mesh: it refuses an axis of 8 on 4 x 4 x 4 chips, which takes half of one of theirs.
        shape, used = tuple(self.shape.values()), devices[: self.size]
        grid = mesh_utils.create_device_mesh(shape, used, allow_split_physical_axes=True)
        return Mesh(grid, tuple(self.shape), axis_types=(jax.sharding.AxisType.Auto,) * len(shape))


def axes_of(logical_axis: str | None, rules: Rules = TRAINING_RULES) -> tuple[str, ...]:
    """The mesh axes that cut a dimension of this name, none for None. Raises ValueError for unknown names."""
    if logical_axis is None:
        return ()
    if logical_axis not in rules:
        raise ValueError(
            f"a logical axis must be one of {', '.join(rules)}, got {logical_axis!r}; add it to the table"
        )
    part = rules[logical_axis] or ()
    return (part,) if isinstance(part, str) else part


def num_shards(
    mesh: Mesh | AbstractMesh | MeshConfig | None, logical_axis: str | None, rules: Rules = TRAINING_RULES
) -> int:
    """Into how many parts the mesh cuts a dimension of this logical name; one where the mesh is None."""
    axes = axes_of(logical_axis, rules)
    return 1 if mesh is None else math.prod(mesh.shape[axis] for axis in axes)


def spec_of(logical_axes: Sequence[str | None], rules: Rules = TRAINING_RULES) -> PartitionSpec:
    """Partition of an array whose dimensions have these logical names. Raises ValueError on a collision."""
    used = [mesh_axis for axis in logical_axes for mesh_axis in axes_of(axis, rules)]
    parts = [None if axis is None else rules[axis] for axis in logical_axes]
    if len(used) != len(set(used)):
        raise ValueError(
            f"two dimensions of {tuple(logical_axes)} fall on one mesh axis ({parts}); change the table"
        )
    return PartitionSpec(*parts)


def parameter_shardings(mesh: Mesh, logical_axes_tree, shape_tree, rules: Rules = TRAINING_RULES):
    """A NamedSharding for every parameter, from trees of logical axis names and of shapes."""

    def sharding(axes, leaf):
        spec = spec_of(axes, rules)
        for size, axis in zip(leaf.shape, axes, strict=True):
            count = num_shards(mesh, axis, rules)
            if size % count:
                parts = " x ".join(axes_of(axis, rules))
                raise ValueError(
                    f"logical axis {axis} of size {size} cannot be cut into {count} equal shards (mesh axes "
                    f"{parts}); choose a mesh whose {parts} divides it"
                )
        return NamedSharding(mesh, spec)

    return jax.tree.map(sharding, logical_axes_tree, shape_tree, is_leaf=lambda x: isinstance(x, tuple))


def constrain(
    x: jax.Array,
    logical_axes: Sequence[str | None],
    mesh: Mesh | AbstractMesh | None,
    rules: Rules = TRAINING_RULES,
) -> jax.Array:
    """`x` lying on the mesh as the rules say, under `jit`; as it is where the mesh is None."""
    if mesh is None:
        return x
    return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, spec_of(logical_axes, rules)))


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Sharding of anything whose leading axis is prompts."""
    return NamedSharding(mesh, spec_of(("batch",)))

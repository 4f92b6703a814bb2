"""Where the tokens, the vocabulary and the heads of a kernel's operands lie on a mesh."""

import math
from dataclasses import dataclass

from jax.sharding import AbstractMesh, Mesh


@dataclass(frozen=True, kw_only=True)
class Shards:
    """The mesh axes over which the operands of a kernel are cut; static under `jax.jit`.

    Without one, an operation works on the arrays as they are given: on one device, or inside a `shard_map`
    of the caller's.
    """

    mesh: Mesh | AbstractMesh
    tokens: tuple[str, ...] = ()
    """Axes that cut tokens, or the rows that hold them."""
    vocabulary: str | None = None
    """Axis that cuts the vocabulary of an output head."""
    heads: str | None = None
    """Axis that cuts the heads of attention."""
    hidden: str | None = None
    """Axis that cuts an output head's hidden dimension where it is kept: the operation gathers the head over
    it, in the dtype of its products, and scatters the head's gradient over it."""

    def __post_init__(self):
        if self.hidden is not None and self.hidden not in self.tokens:
            raise ValueError(
                "the axis that cuts the hidden dimension must be one of those that cut tokens, over which "
                f"the head's gradient is summed; got {self.hidden!r} and {self.tokens}; leave hidden None"
            )

    @property
    def num_token_shards(self) -> int:
        """Into how many parts the tokens are cut."""
        return math.prod(self.mesh.shape[axis] for axis in self.tokens)

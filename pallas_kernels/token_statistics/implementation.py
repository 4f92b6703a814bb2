"""What every implementation offers: two passes over the vocabulary, on the arrays of one device.

For one token with logits z = scale * hidden @ head, p = softmax(z) and label y:

    logp = z_y - lse(z)                d logp / dz_v = 1[v = y] - p_v
    H    = lse(z) - sum_v p_v z_v      d H    / dz_v = -p_v (log p_v + H)

so the backward pass can make the logits again from lse and H alone.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, NamedTuple

from jaxtyping import Array, Float, Int

from pallas_kernels.token_statistics.partials import Partials

VocabAxis = Literal[0, 1]


class Operands(NamedTuple):
    """The arrays of one device; columns of the logits are counted from the first that it holds."""

    hidden_TD: Float[Array, "T D"]
    head: Float[Array, "V D"] | Float[Array, "D V"]
    """[V, D] where `Call.vocab_axis` is 0, as tied embeddings lie, and [D, V] where it is 1."""
    label_T: Int[Array, " T"]
    """Column of the label; below 0 or from V on where another device holds it."""
    num_valid: Int[Array, ""] | None
    """Columns from this one on do not count, and may hold anything, even nan; None when all V count."""


class Saved(NamedTuple):
    """What the backward pass needs beside the operands, all of the whole vocabulary."""

    lse_T: Float[Array, " T"]
    entropy_T: Float[Array, " T"]
    logp_bar_T: Float[Array, " T"]
    """Gradient of the loss with respect to the log-prob."""
    entropy_bar_T: Float[Array, " T"]
    kept: Array | None = None
    """What `forward_for_gradient` kept."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """The numbers of an operation that are known when it is traced."""

    scale: float
    """1 / temperature."""
    vocab_axis: VocabAxis


class Implementation(ABC):
    """One way to compute the statistics. Frozen and hashable: it is static under `jax.jit`."""

    @abstractmethod
    def forward(self, call: Call, operands: Operands) -> Partials:
        """One pass over the columns of this device."""

    def forward_for_gradient(self, call: Call, operands: Operands) -> tuple[Partials, Array | None]:
        """`forward`, and what the backward pass can use of it: [tiles of the vocabulary, T, ...] or None."""
        return self.forward(call, operands), None

    @abstractmethod
    def backward(self, call: Call, operands: Operands, saved: Saved) -> tuple[Array, Array]:
        """Gradients of hidden (this device's columns' share of it) and of head, in the operands' dtypes."""

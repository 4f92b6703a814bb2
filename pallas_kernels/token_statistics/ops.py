"""The public operation: one custom derivative around any implementation, on one device or a mesh."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float, Int

from pallas_kernels.sharding import Shards
from pallas_kernels.token_statistics.implementation import Call, Implementation, Operands, Saved, VocabAxis
from pallas_kernels.token_statistics.partials import Statistics, combine
from pallas_kernels.token_statistics.tiled import XLATiles


def token_statistics(
    hidden_TD: Float[Array, "T D"],
    head: Float[Array, "V D"] | Float[Array, "D V"],
    label_T: Int[Array, " T"],
    *,
    temperature: float = 1.0,
    valid_vocab_size: int | None = None,
    vocab_axis: VocabAxis = 0,
    implementation: Implementation | None = None,
    shards: Shards | None = None,
) -> tuple[Float[Array, " T"], Float[Array, " T"]]:
    """Log-probability of each label and entropy (nats) of softmax(hidden @ head / temperature).

    Both are [T], f32 or wider; gradients flow to `hidden` and `head`, in their dtypes; products are in that
    of `hidden`, to which the head is cast. `vocab_axis` says which axis of `head` is the vocabulary. Of its
    columns only the first `valid_vocab_size` (default: all) count; labels must be among them.
    `implementation` defaults to `XLATiles()`. With `shards`, T must divide evenly over `shards.tokens`, V
    over `shards.vocabulary` and D over `shards.hidden`.
    """
    if vocab_axis not in (0, 1):
        raise ValueError(f"vocab_axis must be 0 for a head [V, D] or 1 for [D, V], got {vocab_axis}")
    if temperature <= 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
    vocab = head.shape[vocab_axis]
    if valid_vocab_size is not None and not 0 < valid_vocab_size <= vocab:
        raise ValueError(
            f"valid_vocab_size must lie in 1 .. {vocab}, the size of the head; got {valid_vocab_size}"
        )
    if head.shape[1 - vocab_axis] != hidden_TD.shape[1]:
        raise ValueError(
            f"hidden {hidden_TD.shape} and head {head.shape} must share the axis that is not the vocabulary; "
            f"vocab_axis is {vocab_axis}"
        )
    operation = _Operation(
        call=Call(scale=1 / temperature, vocab_axis=vocab_axis),
        implementation=implementation or XLATiles(),
        shards=shards,
        valid_vocab_size=None if valid_vocab_size == vocab else valid_vocab_size,
    )
    return _statistics(operation, hidden_TD, head, label_T)


@dataclass(frozen=True, kw_only=True)
class _Operation:
    """Everything but the arrays: how one device does its part, and how the parts meet."""

    call: Call
    implementation: Implementation
    shards: Shards | None
    valid_vocab_size: int | None

    def forward(self, hidden_TD, head, label_T) -> Statistics:
        """The statistics of one device's tokens."""
        partials = self.implementation.forward(self.call, self._operands(hidden_TD, head, label_T))
        return combine(partials, self._vocabulary)

    def forward_for_gradient(self, hidden_TD, head, label_T) -> tuple[Statistics, Array | None]:
        """The same, and what the implementation keeps of them."""
        operands = self._operands(hidden_TD, head, label_T)
        partials, kept = self.implementation.forward_for_gradient(self.call, operands)
        return combine(partials, self._vocabulary), kept

    def backward(self, hidden_TD, head, label_T, saved: Saved) -> tuple[Array, Array]:
        """Gradients of one device's operands, with the shares that other devices have in them."""
        operands = self._operands(hidden_TD, head, label_T)
        hidden_bar_TD, head_bar = self.implementation.backward(self.call, operands, saved)
        if self._vocabulary:
            wide_TD = hidden_bar_TD.astype(_at_least_f32(hidden_bar_TD.dtype))
            hidden_bar_TD = jax.lax.psum(wide_TD, self._vocabulary).astype(hidden_bar_TD.dtype)
        return hidden_bar_TD, self._sum_over_tokens(head_bar.astype(_at_least_f32(head_bar.dtype)))

    def _sum_over_tokens(self, head_bar):
        """The gradient of the head, of which each device keeps what it keeps of the head."""
        if self.shards is None:
            return head_bar
        axes, scattered = self.shards.tokens, self.shards.hidden
        if scattered in axes:
            axes = tuple(axis for axis in axes if axis != scattered)
            head_bar = jax.lax.psum_scatter(
                head_bar, scattered, scatter_dimension=1 - self.call.vocab_axis, tiled=True
            )
        return jax.lax.psum(head_bar, axes) if axes else head_bar

    def on_mesh(self, function, in_specs, out_specs):
        """`function` of one device's arrays as a function of the whole arrays."""
        if self.shards is None:
            return function
        # Which operands differ between devices is written here and not inferred: kernels do not tell.
        return jax.shard_map(
            function, mesh=self.shards.mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False
        )

    @property
    def specs(self) -> tuple[PartitionSpec, PartitionSpec, PartitionSpec]:
        """Partition of arrays whose first axis is tokens, of the gathered head, and of what is kept."""
        if self.shards is None:
            return PartitionSpec(), PartitionSpec(), PartitionSpec()
        tokens = self.shards.tokens
        return PartitionSpec(tokens), self.head_spec(None), PartitionSpec(self._vocabulary, tokens)

    def head_spec(self, hidden_axis: str | None) -> PartitionSpec:
        """Partition of the head, or of its gradient, whose hidden dimension is cut over that mesh axis."""
        by_dimension = [hidden_axis, hidden_axis]
        by_dimension[self.call.vocab_axis] = self._vocabulary
        return PartitionSpec(*by_dimension)

    @property
    def _vocabulary(self) -> str | None:
        return self.shards.vocabulary if self.shards else None

    def _operands(self, hidden_TD, head, label_T) -> Operands:
        """One device's operands, columns counted from its first."""
        num_valid = self.valid_vocab_size
        if self._vocabulary:
            first = jax.lax.axis_index(self._vocabulary) * head.shape[self.call.vocab_axis]
            label_T = label_T - first
            num_valid = None if num_valid is None else num_valid - first
        num_valid = None if num_valid is None else jnp.asarray(num_valid, jnp.int32)
        return Operands(hidden_TD, head, label_T, num_valid)


def _at_least_f32(dtype) -> jnp.dtype:
    """The dtype in which devices add up: a ring of additions in bf16 would round at each."""
    return jnp.promote_types(dtype, jnp.float32)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _statistics(operation: _Operation, hidden_TD, head, label_T):
    tokens, columns, _ = operation.specs
    forward = operation.on_mesh(operation.forward, (tokens, columns, tokens), tokens)
    statistics = forward(hidden_TD, head.astype(hidden_TD.dtype), label_T)
    return statistics.logp_T, statistics.entropy_T


def _forward(operation: _Operation, hidden_TD, head, label_T):
    tokens, columns, kept = operation.specs
    forward = operation.on_mesh(operation.forward_for_gradient, (tokens, columns, tokens), (tokens, kept))
    statistics, kept = forward(hidden_TD, head.astype(hidden_TD.dtype), label_T)
    return (statistics.logp_T, statistics.entropy_T), (hidden_TD, head, label_T, statistics, kept)


def _backward(operation: _Operation, residuals, bars):
    hidden_TD, head, label_T, statistics, kept = residuals
    tokens, columns, kept_spec = operation.specs
    hidden_axis = operation.shards.hidden if operation.shards else None
    backward = operation.on_mesh(
        operation.backward,
        (tokens, columns, tokens, Saved(tokens, tokens, tokens, tokens, kept_spec)),
        (tokens, operation.head_spec(hidden_axis)),
    )
    saved = Saved(statistics.lse_T, statistics.entropy_T, *bars, kept)
    hidden_bar_TD, head_bar = backward(hidden_TD, head.astype(hidden_TD.dtype), label_T, saved)
    return hidden_bar_TD, head_bar.astype(head.dtype), None


_statistics.defvjp(_forward, _backward)

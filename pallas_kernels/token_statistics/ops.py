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

    Both are [T], f32 or wider; gradients flow to `hidden` and `head`, in their dtypes. `vocab_axis` says
    which axis of `head` is the vocabulary. Of its columns only the first `valid_vocab_size` (default: all)
    count; labels must be among them. `implementation` defaults to `XLATiles()`. With `shards`, T must divide
    evenly over `shards.tokens` and V over `shards.vocabulary`.
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
            hidden_bar_TD = _sum_over(hidden_bar_TD, self._vocabulary)
        if self.shards and self.shards.tokens:
            head_bar = _sum_over(head_bar, self.shards.tokens)
        return hidden_bar_TD, head_bar

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
        """Partition of arrays whose first axis is tokens, of the head, and of what is kept."""
        if self.shards is None:
            return PartitionSpec(), PartitionSpec(), PartitionSpec()
        head_axes: list[str | None] = [None, None]
        head_axes[self.call.vocab_axis] = self._vocabulary
        tokens = self.shards.tokens
        return PartitionSpec(tokens), PartitionSpec(*head_axes), PartitionSpec(self._vocabulary, tokens)

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


def _sum_over(x: Array, axes: str | tuple[str, ...]) -> Array:
    """The sum over mesh axes, added up in f32 or wider: a ring of additions in bf16 would round at each."""
    return jax.lax.psum(x.astype(jnp.promote_types(x.dtype, jnp.float32)), axes).astype(x.dtype)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _statistics(operation: _Operation, hidden_TD, head, label_T):
    tokens, columns, _ = operation.specs
    forward = operation.on_mesh(operation.forward, (tokens, columns, tokens), tokens)
    statistics = forward(hidden_TD, head, label_T)
    return statistics.logp_T, statistics.entropy_T


def _forward(operation: _Operation, hidden_TD, head, label_T):
    tokens, columns, kept = operation.specs
    forward = operation.on_mesh(operation.forward_for_gradient, (tokens, columns, tokens), (tokens, kept))
    statistics, kept = forward(hidden_TD, head, label_T)
    return (statistics.logp_T, statistics.entropy_T), (hidden_TD, head, label_T, statistics, kept)


def _backward(operation: _Operation, residuals, bars):
    hidden_TD, head, label_T, statistics, kept = residuals
    tokens, columns, kept_spec = operation.specs
    backward = operation.on_mesh(
        operation.backward,
        (tokens, columns, tokens, Saved(tokens, tokens, tokens, tokens, kept_spec)),
        (tokens, columns),
    )
    saved = Saved(statistics.lse_T, statistics.entropy_T, *bars, kept)
    return *backward(hidden_TD, head, label_T, saved), None


_statistics.defvjp(_forward, _backward)

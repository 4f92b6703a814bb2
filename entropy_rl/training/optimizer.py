"""The optimiser of the recipe: AdamW behind a global-norm clip."""

from dataclasses import dataclass

import jax.numpy as jnp
import optax


@dataclass(frozen=True, kw_only=True)
class AdamW:
    """AdamW with a constant learning rate after an optional linear warm-up."""

    learning_rate: float = 1e-6
    """The published scripts use 1e-6, constant."""
    warmup_updates: int = 0
    """Optimiser updates over which the learning rate rises linearly from zero."""
    b1: float = 0.9
    """Decay of the first moment."""
    b2: float = 0.999
    """Decay of the second moment."""
    eps: float = 1e-8
    """Added to the root of the second moment."""
    weight_decay: float = 0.0
    """Decoupled weight decay; the published scripts use none."""
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this global norm."""
    state_dtype: str = "float32"
    """Dtype of both moments: bfloat16 halves their memory."""

    def schedule(self) -> optax.Schedule:
        """Learning rate as a function of the number of updates made."""
        if self.warmup_updates == 0:
            return optax.constant_schedule(self.learning_rate)
        return optax.linear_schedule(0.0, self.learning_rate, self.warmup_updates)

    def transformation(self) -> optax.GradientTransformation:
        """The optax chain; its update expects gradients whose norm has not been clipped yet."""
        return optax.chain(
            optax.clip_by_global_norm(self.max_grad_norm),
            _scale_by_adam(self.b1, self.b2, self.eps, jnp.dtype(self.state_dtype)),
            optax.add_decayed_weights(self.weight_decay),
            optax.scale_by_learning_rate(self.schedule()),
        )


def _scale_by_adam(b1, b2, eps, state_dtype) -> optax.GradientTransformation:
    """optax's Adam computed in f32 whatever the gradients' dtype, with both moments kept in `state_dtype`."""
    adam = optax.scale_by_adam(b1, b2, eps)

    def cast(state, dtype):
        def moments(tree):
            return optax.tree.cast(tree, dtype)

        return state._replace(mu=moments(state.mu), nu=moments(state.nu))

    def init(params):
        return cast(adam.init(params), state_dtype)

    def update(grads, state, params=None):
        grads_f32 = optax.tree.cast(grads, jnp.float32)
        updates, state = adam.update(grads_f32, cast(state, jnp.float32), params)
        return updates, cast(state, state_dtype)

    return optax.GradientTransformation(init, update)

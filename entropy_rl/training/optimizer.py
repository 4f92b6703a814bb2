"""Optimisers behind a global-norm clip: the recipe's AdamW, and Adafactor where its state does not fit."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import jax.numpy as jnp
import optax

from entropy_rl.training.stochastic_rounding import round_tree_stochastically


@dataclass(frozen=True, kw_only=True)
class Optimizer(ABC):
    """What all optimisers share: a clip, a direction, a learning rate constant after a warm-up."""

    learning_rate: float = 1e-6
    """The published scripts use 1e-6, constant."""
    warmup_updates: int = 0
    """Optimiser updates over which the learning rate rises linearly from zero."""
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this global norm."""

    def __post_init__(self):
        if self.learning_rate < 0 or self.warmup_updates < 0 or not self.max_grad_norm > 0:
            raise ValueError(
                "learning_rate and warmup_updates must not be negative, max_grad_norm must be positive, got "
                f"{self.learning_rate}, {self.warmup_updates} and {self.max_grad_norm}"
            )

    @abstractmethod
    def direction(self) -> optax.GradientTransformation:
        """From clipped f32 gradients to the step before the learning rate."""

    def schedule(self) -> optax.Schedule:
        """Learning rate as a function of the number of updates made."""
        if self.warmup_updates == 0:
            return optax.constant_schedule(self.learning_rate)
        return optax.linear_schedule(0.0, self.learning_rate, self.warmup_updates)

    def init(self, params) -> optax.OptState:
        """The state before the first update."""
        return self.transformation().init(optax.tree.cast(params, jnp.float32))

    def transformation(self) -> optax.GradientTransformation:
        """The optax chain; its update expects f32 gradients that are not clipped yet."""
        return optax.chain(
            optax.clip_by_global_norm(self.max_grad_norm),
            self.direction(),
            optax.scale_by_learning_rate(self.schedule()),
        )


@dataclass(frozen=True, kw_only=True)
class AdamW(Optimizer):
    """AdamW (arXiv 1711.05101). Its state takes 8 bytes a parameter, 4 of each moment, or 2 in bfloat16."""

    b1: float = 0.9
    """Decay of the first moment."""
    b2: float = 0.999
    """Decay of the second moment."""
    eps: float = 1e-8
    """Added to the root of the second moment."""
    weight_decay: float = 0.0
    """Decoupled weight decay; the published scripts use none."""
    first_moment_dtype: Literal["float32", "bfloat16"] = "float32"
    """Dtype in which the first moment is kept between updates."""
    second_moment_dtype: Literal["float32", "bfloat16"] = "float32"
    """Dtype in which the second moment is kept between updates. To bfloat16 it is rounded at random, right in
    the mean: 0.999 times a bfloat16, rounded to the nearest, is the same again, so it would never decay."""

    def direction(self) -> optax.GradientTransformation:
        adam = optax.scale_by_adam(self.b1, self.b2, self.eps, mu_dtype=self.first_moment_dtype)
        if self.second_moment_dtype == "bfloat16":
            adam = _second_moment_in_bfloat16(adam)
        return optax.chain(adam, optax.add_decayed_weights(self.weight_decay))


def _second_moment_in_bfloat16(adam: optax.GradientTransformation) -> optax.GradientTransformation:
    """The same updates; between them the second moment is bfloat16, rounded by the number of the update."""

    def init(params):
        state = adam.init(params)
        return state._replace(nu=optax.tree.cast(state.nu, jnp.bfloat16))

    def update(grads, state, params=None):
        wide = state._replace(nu=optax.tree.cast(state.nu, jnp.float32))
        updates, wide = adam.update(grads, wide, params)
        return updates, wide._replace(nu=round_tree_stochastically(wide.nu, wide.count))

    return optax.GradientTransformation(init, update)


@dataclass(frozen=True, kw_only=True)
class Adafactor(Optimizer):
    """Adam without a first moment and with a factored second one (arXiv 1804.04235): hardly any state."""

    decay_rate: float = 0.8
    """Exponent of the second moment's decay: 1 - t^-decay_rate at update t."""

    def direction(self) -> optax.GradientTransformation:
        return optax.scale_by_factored_rms(decay_rate=self.decay_rate)

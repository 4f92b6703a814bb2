"""Terms beside the policy gradient: estimates of KL(pi || reference), and the regulariser that uses them.

The estimators are J. Schulman's (http://joschu.net/blog/kl-approx.html), of tokens drawn from pi, with
x = logp - ref_logp.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from entropy_rl.objectives.entropy_bonus import EntropyBonus, StaticEntropyBonus
from entropy_rl.objectives.numerics import as_float, log_ratio


class Divergence(ABC):
    """The interface of all estimators."""

    @abstractmethod
    def __call__(
        self,
        logp_BT: Float[Array, "B T"],
        ref_logp_BT: Float[Array, "B T"],
        mask_BT: Bool[Array, "B T"],
    ) -> Float[Array, "B T"]:
        """The estimate of each token, differentiable in `logp_BT`; 0, with gradient 0, where masked."""


@dataclass(frozen=True, kw_only=True)
class K1(Divergence):
    """x: unbiased, of high variance, negative at times; as a loss its mean gradient is zero."""

    def __call__(self, logp_BT, ref_logp_BT, mask_BT):
        return log_ratio(logp_BT, ref_logp_BT, mask_BT)


@dataclass(frozen=True, kw_only=True)
class K2(Divergence):
    """x^2 / 2: biased, of low variance; as a loss its mean gradient is that of the KL."""

    def __call__(self, logp_BT, ref_logp_BT, mask_BT):
        return log_ratio(logp_BT, ref_logp_BT, mask_BT) ** 2 / 2


@dataclass(frozen=True, kw_only=True)
class K3(Divergence):
    """exp(-x) - 1 + x: unbiased, never negative. Clamped: x to +-20 and the result to 10."""

    def __call__(self, logp_BT, ref_logp_BT, mask_BT):
        y_BT = jnp.clip(-log_ratio(logp_BT, ref_logp_BT, mask_BT), -20, 20)
        return jnp.clip(jnp.expm1(y_BT) - y_BT, -10, 10)


@dataclass(frozen=True, kw_only=True)
class Regularizer:
    """kl_coef * KL(pi || reference) - entropy_coef * H, added to the loss of each token.

    Both coefficients are 0 in the paper's runs: selecting tokens takes their place.
    """

    entropy_coef: float = 0.0
    """Weight of the entropy bonus; a positive one raises entropy."""
    entropy_bonus: EntropyBonus = StaticEntropyBonus()
    """How that weight goes on from step to step: it stays, decays, or adapts to a target."""
    kl_coef: float = 0.0
    """Weight of the divergence from the reference policy."""
    divergence: Divergence = K3()
    """How the divergence is estimated."""

    def __post_init__(self):
        low, high = self.entropy_bonus.bounds
        if not low <= self.entropy_coef <= high:
            raise ValueError(
                f"entropy_coef must lie within the bounds of the entropy bonus that begins with it, {low} "
                f"and {high}, got {self.entropy_coef}; change the one or the others"
            )

    @property
    def needs_entropy(self) -> bool:
        """Whether `token_penalty` looks at `entropy_BT`, which costs a gradient through all logits."""
        return self.entropy_bonus.acts(self.entropy_coef)

    @property
    def needs_reference(self) -> bool:
        """Whether `token_penalty` looks at `ref_logp_BT`, which costs a forward pass of the reference."""
        return self.kl_coef != 0

    def token_penalty(
        self,
        *,
        logp_BT: Float[Array, "B T"],
        mask_BT: Bool[Array, "B T"],
        entropy_BT: Float[Array, "B T"] | None = None,
        ref_logp_BT: Float[Array, "B T"] | None = None,
        entropy_coef: Float[Array, ""] | None = None,
    ) -> Float[Array, "B T"]:
        """The term of each token, 0 where masked. What a coefficient of 0 leaves unused may be None.

        `entropy_coef` is the weight of entropy in this step; None takes the first step's.
        """
        penalty_BT = jnp.zeros_like(as_float(logp_BT))
        if self.needs_entropy:
            coef = self.entropy_coef if entropy_coef is None else entropy_coef
            penalty_BT -= coef * jnp.where(mask_BT, as_float(entropy_BT), 0)
        if self.needs_reference:
            penalty_BT += self.kl_coef * self.divergence(logp_BT, ref_logp_BT, mask_BT)
        return penalty_BT


class CoefficientOfStep:
    """The entropy coefficient of one step: called once, with the entropy that the bonus may go by."""

    def __init__(self, regularizer: Regularizer, *, step: int = 1, carried: float | None = None):
        self._regularizer, self._step = regularizer, step
        self.carried = carried
        """What the bonus is told: before the call, and after it for the next step."""

    def __call__(self, entropy: float | None) -> float:
        decision = self._regularizer.entropy_bonus.decide(
            initial=self._regularizer.entropy_coef, step=self._step, carried=self.carried, entropy=entropy
        )
        self.carried = decision.carried
        return decision.coef

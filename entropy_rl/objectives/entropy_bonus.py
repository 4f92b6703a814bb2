"""How the coefficient of the entropy bonus goes on from the one it begins with, step after step."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a bonus decided in a step."""

    coef: float
    """The coefficient of all updates of the step."""
    carried: float | None
    """What the bonus must be told in the next step; None where it remembers nothing."""


class EntropyBonus(ABC):
    """The interface of all rules. `initial` is the coefficient that a run begins with."""

    @abstractmethod
    def acts(self, initial: float) -> bool:
        """Whether there may ever be a coefficient other than 0."""

    @property
    def needs_entropy(self) -> bool:
        """Whether it decides by entropy, which costs a forward pass of the first mini-batch of each step."""
        return False

    @property
    def bounds(self) -> tuple[float, float]:
        """Between which `initial` must lie."""
        return -math.inf, math.inf

    @abstractmethod
    def decide(self, *, initial: float, step: int, carried: float | None, entropy: float | None) -> Decision:
        """The coefficient of a training step, counted from 1.

        `carried` is what the step before decided to carry, None in the first one; `entropy` (nats) is the
        token mean of what the step learns from, before its updates: None where it is not needed.
        """


@dataclass(frozen=True, kw_only=True)
class StaticEntropyBonus(EntropyBonus):
    """The same coefficient in every step."""

    def acts(self, initial):
        return initial != 0

    def decide(self, *, initial, step, carried, entropy):
        return Decision(coef=initial, carried=None)


@dataclass(frozen=True, kw_only=True)
class DecayingEntropyBonus(EntropyBonus):
    """In a straight line over the steps to another coefficient, and then that."""

    final: float = 0.0
    """Coefficient of step `decay_steps` + 1 and of all after it."""
    decay_steps: int = 100
    """Steps that the way takes."""

    def __post_init__(self):
        if self.decay_steps < 1:
            raise ValueError(
                f"decay_steps must be at least 1, got {self.decay_steps}; for one coefficient throughout use "
                "StaticEntropyBonus"
            )

    def acts(self, initial):
        return (initial, self.final) != (0, 0)

    def decide(self, *, initial, step, carried, entropy):
        gone = min((step - 1) / self.decay_steps, 1.0)
        return Decision(coef=(1 - gone) * initial + gone * self.final, carried=None)


@dataclass(frozen=True, kw_only=True)
class TargetEntropyBonus(EntropyBonus):
    """A coefficient that rises while entropy is below a target, and rests while it is above.

    With e the entropy of the tokens of step k, before its updates, these get

        c_k if e <= target, else 0,    and    c_(k+1) = clip(c_k + d if e < target else c_k - d),

    the adaptive entropy control of Skywork-OR1 (arXiv 2505.22312; target 0.2 nats and d 0.005 there). The
    bounds of c are those of its code and of TRL's. So entropy is held from below only: a target near what the
    policy begins with acts from the start, 0.2 nats only when it has all but collapsed.
    """

    target_nats: float = 0.2
    """Entropy below which the policy shall not fall."""
    step_size: float = 0.005
    """d, by which the coefficient c moves in every step."""
    minimum: float = 0.0
    """Smallest coefficient."""
    maximum: float = 1.0
    """Largest coefficient."""

    def __post_init__(self):
        if self.step_size < 0 or self.target_nats <= 0:
            raise ValueError(
                "target_nats must be positive and step_size not negative, got "
                f"{self.target_nats} and {self.step_size}"
            )

    @property
    def bounds(self):
        return self.minimum, self.maximum

    def acts(self, initial):
        return (initial, self.step_size) != (0, 0)

    @property
    def needs_entropy(self):
        return True

    def decide(self, *, initial, step, carried, entropy):
        coef = initial if carried is None else carried
        moved = coef + self.step_size if entropy < self.target_nats else coef - self.step_size
        return Decision(
            coef=coef if entropy <= self.target_nats else 0.0,
            carried=min(max(moved, self.minimum), self.maximum),
        )

"""What a run records beside its numbers, and how often; no training depends on it."""

from dataclasses import dataclass

MAX_THEORY_FRACTION = 1 / 32
"""So that the extra passes of the theory stay a small part of a step."""


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Chosen rollouts token by token, and the theory's two sides, each after the first step and then every so
    many."""

    rollouts_every_steps: int = 10
    """Write chosen responses token by token after the first step and each so many; 0: never."""
    num_rollouts: int = 8
    """Responses that are written."""
    theory_every_steps: int = 10
    """Measure the theory's two sides after the first step and each so many; 0: never."""
    theory_fraction: float = 1 / 32
    """Share of the responses on which the theory is measured, at most 1/32."""

    def __post_init__(self):
        counts = (self.rollouts_every_steps, self.num_rollouts, self.theory_every_steps)
        if min(counts) < 0 or self.num_rollouts < 1:
            raise ValueError(
                "recording.rollouts_every_steps and theory_every_steps must be at least 0 (never) and "
                f"recording.num_rollouts at least 1, got {counts[0]}, {counts[2]} and {counts[1]}"
            )
        if not 0 < self.theory_fraction <= MAX_THEORY_FRACTION:
            raise ValueError(
                f"recording.theory_fraction must be above 0 and at most 1/32, got {self.theory_fraction}; to "
                "measure no theory set recording.theory_every_steps to 0"
            )

    def rollouts_due(self, step: int) -> bool:
        """Whether responses of this step are written."""
        return _due(step, self.rollouts_every_steps)

    def theory_due(self, step: int) -> bool:
        """Whether the theory is measured in this step."""
        return _due(step, self.theory_every_steps)

    def theory_fraction_at(self, step: int) -> float | None:
        """Share of the responses on which this step measures the theory; None where it does not."""
        return self.theory_fraction if self.theory_due(step) else None


def _due(step: int, every_steps: int) -> bool:
    return every_steps > 0 and (step == 1 or step % every_steps == 0)

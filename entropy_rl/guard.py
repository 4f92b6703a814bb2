"""Watching a run for the collapse of its policy: a warning, or the end of the run, in order."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from entropy_rl.observability.metric_names import ENTROPY
from entropy_rl.parallelism import AllStop

EXIT_COLLAPSED = 76
"""Exit code of a run that its guard has stopped."""


class Collapsed(AllStop):
    """The guard has stopped the run; all that was done is saved and summed up."""


@dataclass(frozen=True, kw_only=True)
class CollapseGuard:
    """What counts as a collapse of entropy, and what follows from it; off by default."""

    below_nats: float | None = None
    """A step has collapsed when policy/entropy is below this (None: nothing is watched). Half of what the
    policy begins with warns early."""
    for_steps: int = 5
    """The policy has, after so many such steps in a row."""
    stop: bool = False
    """End the run then, with a checkpoint, a summary that says why and exit code 76. Else it only warns."""

    def __post_init__(self):
        if self.for_steps < 1 or (self.below_nats is not None and not self.below_nats > 0):
            raise ValueError(
                "guard.for_steps must be at least 1 and guard.below_nats positive (None: no guard), got "
                f"{self.for_steps} and {self.below_nats}"
            )

    def count(self, before: int, metrics: Mapping[str, float | int | None]) -> int:
        """Collapsed steps in a row after a step of these metrics, `before` of them before it.

        A step without entropy, in which there was nothing to learn from, tells nothing.
        """
        if self.below_nats is None or ENTROPY not in metrics:
            return before
        entropy = metrics[ENTROPY]
        return before + 1 if entropy is not None and entropy < self.below_nats else 0

    def count_again(self, rows: Iterable[Mapping[str, float | int | None]]) -> int:
        """The same at the end of these steps: a resumed run may have another threshold."""
        collapsed = 0
        for row in rows:
            collapsed = self.count(collapsed, row)
        return collapsed

    def metrics(self, collapsed_steps: int) -> dict[str, int]:
        """What a step records; nothing where nothing is watched."""
        return {} if self.below_nats is None else {"guard/collapsed_steps": collapsed_steps}

    def stops(self, collapsed_steps: int) -> bool:
        """Whether the run ends after so many collapsed steps in a row."""
        return self.stop and self.below_nats is not None and collapsed_steps >= self.for_steps

    def warning(self, before: int, collapsed_steps: int, step: int) -> str | None:
        """What to say after a step, `before` it so many: at the collapse, and again after as many steps as
        made it one; nothing of a step that told nothing."""
        if collapsed_steps <= before or collapsed_steps % self.for_steps:
            return None
        return f"step {step}: {self._found(collapsed_steps)}"

    def reason(self, collapsed_steps: int, step: int) -> str:
        """Why the run was stopped after this step, and how it could go on."""
        return (
            f"stopped by its guard after step {step}: {self._found(collapsed_steps)}; the checkpoint is "
            "saved: go on by --resume with a lower guard.below_nats, a higher guard.for_steps or without "
            "guard.stop, or begin anew with something that keeps entropy up: regularizer.entropy_coef, a "
            "larger objective.eps_high, Clip-Cov, KL-Cov"
        )

    def _found(self, collapsed_steps: int) -> str:
        below = f"{ENTROPY} below {self.below_nats:g} nats"
        return f"the policy has collapsed: {below} for {collapsed_steps} steps in a row"

"""When a run measures its policy on the way, and by which suite."""

from dataclasses import dataclass

from entropy_rl.evaluation.suite import Suite


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """After which steps a policy is measured."""

    every_steps: int = 0
    """Measure after each so many steps of training; 0: not on the way."""
    at_end: bool = True
    """Measure after the last step of training."""

    def due(self, step: int, num_steps: int) -> bool:
        """Whether training measures after this step."""
        on_the_way = self.every_steps > 0 and step % self.every_steps == 0
        return on_the_way or (self.at_end and step == num_steps)

    def is_ever_due(self, num_steps: int) -> bool:
        """Whether training measures at all."""
        return any(self.due(step, num_steps) for step in range(1, num_steps + 1))


@dataclass(frozen=True, kw_only=True)
class Validation(Schedule):
    """How the policy is measured by a suite, each benchmark sampled or greedily as the suite says."""

    suite: Suite
    """What is asked; entropy_rl.evaluation.PAPER is the paper's, of which .only(...) and .shortened(...) make
    smaller ones."""
    sequences_at_once: int | None = None
    """Responses sampled together (None: as many as fit where training's do, in tokens)."""

    def at_once(self, num_sequences: int, max_response_tokens: int) -> int:
        """Responses sampled together, where training samples so many of so many tokens at most."""
        if self.sequences_at_once is not None:
            return self.sequences_at_once
        # Of greedy responses each has a prompt of its own, where a group of training shares one.
        longest = max(b.max_prompt_tokens + b.max_response_tokens for b in self.suite.benchmarks)
        return max(min(num_sequences * max_response_tokens // longest, num_sequences), 1)

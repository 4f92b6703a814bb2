"""Dynamic sampling: prompts are sampled until a step has enough groups that teach something.

A group whose responses all earn the same has advantage 0: it makes no gradient, and its tokens only dilute
the means. So groups pass a filter, and generation batches of further prompts follow until `prompts_per_step`
groups have passed. What passed beyond that, the surplus, is the beginning of the next step's batch.

Surplus groups were sampled by an older policy. Their old log-probs are not that policy's: like all others
they are the learner's before the updates of the step that learns from them, as the paper's code computes them
too. So the ratio measures how far these updates go, and KL-Cov penalises nothing else; that the groups came
from a policy a few updates older is not corrected, it is recorded (the metrics of `staleness/`), and bounded
by `max_staleness`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32

from entropy_rl.training.groups import Groups


class GroupFilter(ABC):
    """The interface of all filters."""

    @abstractmethod
    def passes(
        self, reward_PG: Float32[np.ndarray, "P G"], correct_PG: Bool[np.ndarray, "P G"]
    ) -> Bool[np.ndarray, " P"]:
        """The groups to learn from."""


@dataclass(frozen=True, kw_only=True)
class RewardsDiffer(GroupFilter):
    """Groups with two rewards at least, that is with an advantage other than 0."""

    def passes(self, reward_PG, correct_PG):
        return (reward_PG != reward_PG[:, :1]).any(axis=1)


@dataclass(frozen=True, kw_only=True)
class PassRateBand(GroupFilter):
    """Groups whose share of right responses lies in a band, its ends included: neither too easy nor too hard.

    Of 8 samples [0.1, 0.9] leaves out what [0.01, 0.99] does; with more it is narrower than that.
    """

    low: float = 0.1
    """Smallest share of right responses."""
    high: float = 0.9
    """Largest share of right responses."""

    def __post_init__(self):
        if not 0 <= self.low <= self.high <= 1:
            raise ValueError(
                "a band of pass rates must have 0 <= low <= high <= 1, got "
                f"low {self.low} and high {self.high}; 0.1 is 10 percent"
            )

    def passes(self, reward_PG, correct_PG):
        rate_P = correct_PG.mean(axis=1, dtype=np.float64)
        return (self.low <= rate_P) & (rate_P <= self.high)


@dataclass(frozen=True, kw_only=True)
class DynamicSampling:
    """Which groups are learned from, and how many are sampled to find them."""

    filter: GroupFilter = RewardsDiffer()
    """What a group must be like."""
    prompts_per_gen_batch: int | None = None
    """Prompts that are sampled at a time until the batch is full (None: batch.prompts_per_step). The data are
    read in such batches, whose size must stay when a run is resumed."""
    max_gen_batches: int = 10
    """Generation batches of one step; then it learns from the groups there are, were they none."""
    max_staleness: int | None = None
    """Steps that the surplus may wait for its turn; 0 drops it at once, None sets no limit. There is little
    to limit: the oldest go first and the surplus is less than a generation batch, so that of batches no
    larger than a step none waits for more than one."""

    def __post_init__(self):
        size = self.prompts_per_gen_batch
        if self.max_gen_batches < 1 or (size is not None and size < 1) or (self.max_staleness or 0) < 0:
            raise ValueError(
                "dynamic_sampling.max_gen_batches and prompts_per_gen_batch must be at least 1, "
                f"max_staleness at least 0, got {self.max_gen_batches}, {size} and {self.max_staleness}"
            )

    def usable(self, groups: Groups, step: int) -> Bool[np.ndarray, " N"]:
        """The groups that are young enough for this step."""
        if self.max_staleness is None:
            return np.ones(len(groups), bool)
        return step - groups.step_N <= self.max_staleness

    def check(self, *, prompts_per_step: int, samples_per_prompt: int, num_shards: int) -> None:
        """Raises ValueError where these settings cannot work with those of the batch."""
        size = self.prompts_per_gen_batch or prompts_per_step
        if samples_per_prompt < 2:
            raise ValueError(
                f"dynamic sampling needs batch.samples_per_prompt of at least 2, got {samples_per_prompt}: a "
                "lone response differs from nothing; raise it, or leave dynamic_sampling None"
            )
        if size % num_shards:
            raise ValueError(
                "dynamic_sampling.prompts_per_gen_batch must be a multiple of mesh.data * mesh.fsdp = "
                f"{num_shards}, got {size}"
            )
        if size * self.max_gen_batches < prompts_per_step:
            raise ValueError(
                "dynamic_sampling.max_gen_batches x prompts_per_gen_batch must reach batch.prompts_per_step, "
                f"{prompts_per_step}, got {self.max_gen_batches} x {size}; raise the one or the other"
            )

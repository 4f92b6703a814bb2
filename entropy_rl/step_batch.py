"""What a step learns from: all groups that were sampled, or those that dynamic sampling has found."""

from collections.abc import Callable
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Int32

from entropy_rl.dynamic_sampling import DynamicSampling
from entropy_rl.evaluation import RolloutGrades, joined_grades
from entropy_rl.objectives.numerics import masked_sum
from entropy_rl.training.groups import GroupPool, Groups, gather_groups, spread
from entropy_rl.types import Rollout


@dataclass(frozen=True, kw_only=True)
class Generation:
    """Prompts, the responses sampled to them, and their grades."""

    prompt_id_P: Int32[np.ndarray, " P"]
    rollout: Rollout
    graded: RolloutGrades

    def groups(self, step: int) -> Groups:
        """What the host knows of them."""
        return Groups(
            row_N=np.arange(len(self.prompt_id_P)),
            prompt_id_N=self.prompt_id_P.astype(np.int64),
            step_N=np.full(len(self.prompt_id_P), step),
            reward_NG=self.graded.grades.reward_PG,
            correct_NG=self.graded.grades.correct_PG,
            length_NG=self.graded.length_PG,
        )


@dataclass(frozen=True, kw_only=True)
class StepBatch:
    """Groups in the rows of the mini-batches of a step."""

    rollout: Rollout
    reward_PG: Float32[np.ndarray, "P G"]
    """0 where a row is empty."""
    correct_PG: Bool[np.ndarray, "P G"]
    """False where a row is empty."""
    filled_P: Bool[np.ndarray, " P"]
    """The rows that hold a group."""
    num_updates: int
    """Mini-batches with groups in them: the first ones."""
    num_tokens: int
    stale_P: Bool[np.ndarray, " P"] | None = None
    """The groups that earlier steps sampled; None where there are none."""


@dataclass(frozen=True, kw_only=True)
class Collected:
    """What the sampling of a step has led to."""

    batch: StepBatch | None
    """None where no group is worth learning from."""
    graded: RolloutGrades | None
    """Of all that was sampled, before any filtering; None where the surplus was enough."""
    surplus: GroupPool | None = None
    """What is left for the next step, with dynamic sampling."""
    metrics: dict[str, float | int] = field(default_factory=dict)


def whole(generation: Generation, num_updates: int) -> Collected:
    """Everything that was sampled."""
    batch = StepBatch(
        rollout=generation.rollout,
        reward_PG=generation.graded.grades.reward_PG,
        correct_PG=generation.graded.grades.correct_PG,
        filled_P=np.ones(len(generation.prompt_id_P), bool),
        num_updates=num_updates,
        num_tokens=int(generation.graded.length_PG.sum()),
    )
    return Collected(batch=batch, graded=generation.graded, metrics={"generation/batches": 1})


def fill(
    settings: DynamicSampling,
    surplus: GroupPool,
    generate: Callable[[int], Generation],
    *,
    step: int,
    prompts_per_step: int,
    prompts_per_update: int,
) -> Collected:
    """Samples generation batch after generation batch until enough groups have passed the filter.

    No prompt is twice in the pool, hence in a batch, since random choices among tokens go by the identity of
    their prompt: where an epoch has begun anew, of two groups of one prompt the newer one stays.
    """
    pool, sampled, dropped = surplus, Sampled(), []
    while len(pool.groups) < prompts_per_step and sampled.num_batches < settings.max_gen_batches:
        generation = generate(sampled.num_batches)
        groups = generation.groups(step)
        passes_P = settings.filter.passes(groups.reward_NG, groups.correct_NG)
        sampled.add(generation, passes_P)
        again_N = np.isin(pool.groups.prompt_id_N, groups.prompt_id_N[passes_P])
        dropped.append(pool.groups.take(again_N))
        pool = pool.keep(~again_N).add(generation.rollout, groups.take(passes_P))
    taken, left = pool.groups.take(slice(prompts_per_step)), pool.keep(slice(prompts_per_step, None))
    usable_N = settings.usable(left.groups, step + 1)
    dropped.append(left.groups.take(~usable_N))
    left = left.keep(usable_N)
    batch = None
    if len(taken):
        batch = _laid_out(taken, pool.rollout, step, prompts_per_step, prompts_per_update)
    metrics = {
        **sampled.metrics(sum(groups.num_tokens for groups in dropped)),
        **_batch_metrics(taken, step, prompts_per_step),
        "surplus/groups": len(left.groups),
    }
    return Collected(batch=batch, graded=sampled.graded, surplus=left, metrics=metrics)


def _laid_out(
    groups: Groups, rollout: Rollout, step: int, prompts_per_step: int, prompts_per_update: int
) -> StepBatch:
    """These groups in the rows of mini-batches."""
    row_P = spread(len(groups), prompts_per_update, prompts_per_step)
    real_P = row_P >= 0
    stale_P = real_P & (groups.step_N[row_P] < step)
    return StepBatch(
        rollout=gather_groups([rollout], np.where(real_P, groups.row_N[row_P], -1)),
        reward_PG=np.where(real_P[:, None], groups.reward_NG[row_P], np.float32(0)),
        correct_PG=real_P[:, None] & groups.correct_NG[row_P],
        filled_P=real_P,
        num_updates=-(-len(groups) // prompts_per_update),
        num_tokens=groups.num_tokens,
        stale_P=stale_P if stale_P.any() else None,
    )


class Sampled:
    """The generation batches of one step, added up."""

    def __init__(self):
        self._graded: list[RolloutGrades] = []
        self._num_groups, self._num_passed, self._num_tokens, self._passed_tokens = 0, 0, 0, 0
        self._surprisal = np.zeros(2)

    @property
    def num_batches(self) -> int:
        return len(self._graded)

    @property
    def graded(self) -> RolloutGrades | None:
        """The grades of all; None of nothing."""
        return joined_grades(self._graded) if self._graded else None

    def add(self, generation: Generation, passes_P: Bool[np.ndarray, " P"]) -> None:
        self._graded.append(generation.graded)
        self._num_groups += len(passes_P)
        self._num_passed += int(passes_P.sum())
        self._num_tokens += int(generation.graded.length_PG.sum())
        self._passed_tokens += int(generation.graded.length_PG[passes_P].sum())
        self._surprisal += jax.device_get(_surprisal_sums(generation.rollout, passes_P))

    def metrics(self, dropped_tokens: int) -> dict[str, float | int]:
        """Of what was sampled; `dropped_tokens` are of groups that had passed and will not be used.

        These may be of earlier steps, so they are no part of what this step has wasted of its own tokens.
        """
        wasted_tokens = self._num_tokens - self._passed_tokens
        counts = {
            "generation/batches": self.num_batches,
            "generation/tokens": self._num_tokens,
            "generation/wasted_tokens": wasted_tokens,
            "generation/dropped_tokens": dropped_tokens,
        }
        if not self._graded:
            return counts
        of_all, of_passed = self._surprisal / np.maximum([self._num_tokens, self._passed_tokens], 1)
        return counts | {
            "generation/kept_fraction": self._num_passed / self._num_groups,
            "generation/wasted_fraction": wasted_tokens / self._num_tokens,
            "generation/surprisal": float(of_all),
            **({"generation/surprisal_kept": float(of_passed)} if self._num_passed else {}),
        }


@jax.jit
def _surprisal_sums(rollout: Rollout, passes_P: Bool[Array, " P"]) -> Float[Array, " 2"]:
    """Sum of the sampler's -logp over the tokens of all groups, and over those of groups that passed."""
    mask_PGT = rollout.response_mask_PGT
    masks = (mask_PGT, mask_PGT & passes_P[:, None, None])
    return jnp.stack([-masked_sum(rollout.logp_PGT, mask) for mask in masks])


def _batch_metrics(groups: Groups, step: int, prompts_per_step: int) -> dict[str, float | int]:
    """Of the groups that are learned from."""
    missing = {"batch/missing_groups": prompts_per_step - len(groups)}
    if not len(groups):
        return missing
    age_N = step - groups.step_N
    return missing | {
        "batch/pass_rate": float(groups.correct_NG.mean()),
        "staleness/mean": float(age_N.mean()),
        "staleness/max": int(age_N.max()),
        "staleness/group_fraction": float((age_N > 0).mean()),
    }

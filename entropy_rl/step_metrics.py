"""Metrics of a step that come from the host: rewards, lengths, seconds, throughput."""

from functools import reduce
from operator import add

import numpy as np
from jaxtyping import Float

from entropy_rl.evaluation import RolloutGrades
from entropy_rl.observability.clock import Clock
from entropy_rl.sampler import LogitHealth
from entropy_rl.step_batch import Collected
from entropy_rl.training.learner import TrainState

NEGLIGIBLE_ADVANTAGE = 0.01
"""Advantages of at most this size teach next to nothing."""


def sample_metrics(graded: RolloutGrades | None) -> dict[str, float | int]:
    """Rewards and lengths of all groups that were sampled, before any filtering; nothing of no groups."""
    if graded is None:
        return {}
    grades = graded.grades
    reward_PG, correct_PG = grades.reward_PG, grades.correct_PG
    pass_rate, group_size = float(correct_PG.mean()), correct_PG.shape[1]
    return {
        "reward/mean": float(reward_PG.mean()),
        "reward/std": float(reward_PG.std(dtype=np.float64)),
        "reward/distinct_values": len(np.unique(reward_PG)),
        "reward/pass_rate": pass_rate,
        "reward/groups_all_right": float(correct_PG.all(axis=1).mean()),
        "reward/groups_all_wrong": float((~correct_PG).all(axis=1).mean()),
        "reward/groups_zero_variance": float((reward_PG == reward_PG[:, :1]).all(axis=1).mean()),
        "reward/groups_zero_variance_expected": pass_rate**group_size + (1 - pass_rate) ** group_size,
        "reward/timeouts": grades.num_timeouts,
        "group/duplicate_fraction": float(graded.duplicate_PG.mean()),
        "group/near_duplicate_fraction": float(graded.near_duplicate_PG.mean()),
        "length/mean": float(graded.length_PG.mean()),
        "length/max": int(graded.length_PG.max()),
        "length/min": int(graded.length_PG.min()),
        "length/truncated_fraction": float(graded.truncated_PG.mean()),
        **grades.details,
    }


def health_metrics(seen: list[LogitHealth]) -> dict[str, float]:
    """What the logits looked like in all generation batches of the step; nothing of none."""
    return reduce(add, seen).metrics() if seen else {}


def advantage_metrics(adv_NG: Float[np.ndarray, "N G"]) -> dict[str, float]:
    """How far the advantages of the groups that are learned from spread."""
    size_NG = np.abs(adv_NG)
    return {
        "advantage/std": float(adv_NG.std(dtype=np.float64)),
        "advantage/nonzero_fraction": float((size_NG > NEGLIGIBLE_ADVANTAGE).mean()),
        "advantage/max_abs": float(size_NG.max()),
    }


def time_metrics(clock: Clock, collected: Collected) -> dict[str, float | int]:
    """Seconds of each phase and of the whole step; tokens, or responses, a second, of what there was."""
    graded, batch = collected.graded, collected.batch
    metrics = {f"seconds/{phase}": seconds for phase, seconds in clock.seconds.items()}
    metrics["seconds/step"] = clock.total_seconds
    if graded is not None:
        num_tokens = int(graded.length_PG.sum())
        metrics["throughput/rollout_tokens_per_second"] = num_tokens / clock.seconds["rollout"]
        metrics["throughput/judged_responses_per_second"] = graded.grades.responses_per_second
    if batch is not None:
        metrics["throughput/update_tokens_per_second"] = batch.num_tokens / clock.seconds["update"]
    return metrics


def no_updates(state: TrainState) -> dict[str, int]:
    """What `learn` reports, of a step that had nothing to learn from."""
    skipped_in_a_row = int(state.num_skipped_in_a_row)
    return {
        "optimizer/updates": 0,
        "optimizer/skipped_updates": 0,
        "optimizer/skipped_in_a_row": skipped_in_a_row,
    }

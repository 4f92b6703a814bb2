"""Metrics of a step that come from the host: rewards, truncation, seconds, throughput."""

from entropy_rl.evaluation import RolloutGrades
from entropy_rl.observability.clock import Clock


def reward_metrics(graded: RolloutGrades) -> dict[str, float | int]:
    """Rewards of all groups, before any filtering."""
    grades = graded.grades
    correct_PG = grades.correct_PG
    return {
        "reward/mean": float(grades.reward_PG.mean()),
        "reward/pass_rate": float(correct_PG.mean()),
        "reward/groups_all_right": float(correct_PG.all(axis=1).mean()),
        "reward/groups_all_wrong": float((~correct_PG).all(axis=1).mean()),
        "reward/timeouts": grades.num_timeouts,
        "length/truncated_fraction": float(graded.truncated_PG.mean()),
        **grades.details,
    }


def time_metrics(clock: Clock, graded: RolloutGrades) -> dict[str, float | int]:
    """Seconds of each phase and of the whole step; tokens, or responses, a second."""
    num_tokens = int(graded.length_PG.sum())
    return {
        **{f"seconds/{phase}": seconds for phase, seconds in clock.seconds.items()},
        "seconds/step": clock.total_seconds,
        "throughput/rollout_tokens_per_second": num_tokens / clock.seconds["rollout"],
        "throughput/update_tokens_per_second": num_tokens / clock.seconds["update"],
        "throughput/judged_responses_per_second": graded.grades.responses_per_second,
    }

"""Every check of a diagnosis, by concern."""

from entropy_rl.observatory.checks import entropy, logits, optimisation, policy, rewards, sampling
from entropy_rl.observatory.verdicts import Check

CHECKS: tuple[Check, ...] = (
    entropy.level,
    entropy.slope,
    entropy.explosion,
    entropy.base,
    entropy.start,
    logits.max_probability,
    logits.gap,
    logits.joint,
    logits.root_cause,
    rewards.degeneration,
    rewards.trend,
    rewards.advantages,
    rewards.zero_variance,
    rewards.duplicates,
    rewards.judge_failures,
    optimisation.vanishing,
    optimisation.exploding,
    optimisation.skipped,
    optimisation.step_size,
    optimisation.kl,
    optimisation.entropy_term,
    optimisation.selection,
    optimisation.theory,
    sampling.temperature,
    sampling.truncation,
    sampling.minimum_length,
    sampling.stop_suppression,
    sampling.mismatch,
    sampling.staleness,
    policy.sign,
    policy.repetition,
    policy.over_fit,
    policy.overlap,
)
"""In the order of a run's causes; a diagnosis sorts them by severity and priority."""

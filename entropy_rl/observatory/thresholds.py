"""The numbers that checks compare with, each with its source.

"Published" are those of the grpo-dual diagnosis scripts (deep_entropy_diagnosis.py, auto_diagnose_entropy.py
and the step diagnostics); "derived" are our own, with the reason.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Where a check warns and where it fails.

    Thresholds on entropies (`*_nats`) and on what the likeliest token leaves to others hold for vocabularies
    of 128 000 tokens; a smaller vocabulary V scales them by ln V / ln 128 256.
    """

    window_steps: int = 10
    """Steps that "recent" and "start" mean, at most a third of the run each. Derived: one step is noisy."""
    min_steps_for_trend: int = 16
    """Fewest steps that a trend is read from. Derived: a slope of few points is chance."""

    collapsed_entropy_nats: float = 0.05
    """Published: mean entropy below 0.05 is collapse."""
    low_entropy_nats: float = 0.3
    """Published: below 0.3 is low."""
    collapsed_share_of_start: float = 0.1
    """Collapse in any vocabulary. Derived: what KL-Cov must keep at least ten times of (arXiv 2505.22617)."""
    low_share_of_start: float = 1 / 3
    """Derived: GRPO's plateau is below it, runs that hold their entropy stay above."""
    exploded_share_of_uniform: float = 0.8
    """Entropy over that of uniform choice. Derived: a policy that says anything rules out most."""
    risen_share_of_start: float = 2.0
    """Entropy over the start's that is a warning. Derived: too strong a bonus makes entropy explode
    (arXiv 2505.22617, Section 4.1)."""
    low_base_entropy_nats: float = 0.5
    """Published: a base policy below 0.5 is bad."""
    modest_base_entropy_nats: float = 1.5
    """Published: from 0.5 to 1.5 is low, above is fine."""
    max_probability_warn: float = 0.90
    """Published; the likeliest token's mean probability."""
    max_probability_fail: float = 0.99
    """Published."""
    gap_warn_nats: float = 5.0
    """Published; the mean gap of the two largest logits."""
    gap_fail_nats: float = 7.0
    """Published."""

    min_reward_std: float = 0.1
    """Published: a standard deviation of rewards below 0.1 is degenerate."""
    min_advantage_std: float = 0.05
    """Published: below 0.05 is bad."""
    weak_advantage_std: float = 0.2
    """Published: below 0.2 is weak."""
    min_nonzero_advantage_fraction: float = 0.5
    """Published: fewer than half of the responses with an advantage over 0.01 is bad. Here a warning: binary
    rewards at a pass rate of 0.08 in groups of 8 come to that by chance."""
    hopeless_nonzero_advantage_fraction: float = 0.1
    """Derived: nine of ten responses teach nothing."""
    zero_variance_watch_ratio: float = 1.2
    """Published: up to 1.2 times the expected share of groups without variance is normal."""
    zero_variance_anomaly_ratio: float = 1.5
    """Published: up to 1.5 times is to be watched, above is an anomaly."""
    min_zero_variance_fraction: float = 1 / 3
    """Derived: while fewer groups are alike, that a run learns its prompts is the likelier cause."""
    max_zero_variance_fraction: float = 0.5
    """Published: more than half of the groups is a red warning."""
    duplicates_warn_fraction: float = 0.5
    """Derived: half of the samples add nothing to their group."""
    duplicates_fail_fraction: float = 0.8
    """Derived: four in five add nothing; a group of 8 then has one or two different responses."""
    duplicates_growth: float = 1.2
    """Share of duplicates over the start's that counts as grown. Derived: tasks of short answers have many
    from the start."""
    judge_failures_warn_fraction: float = 0.01
    """Derived: rewards that are no judgements, visible in a mean of 1000 responses."""
    judge_failures_fail_fraction: float = 0.1
    """Published: a judge that falls back on its heuristic for more than 10 %."""

    vanished_grad_norm: float = 1e-6
    """Published: a gradient of total norm below 1e-6 has vanished."""
    grown_grad_norm_warn_ratio: float = 10.0
    """Recent gradients over the start's. Derived: an order of magnitude."""
    grown_grad_norm_fail_ratio: float = 100.0
    """Derived: two orders of magnitude."""
    skipped_updates_fail_fraction: float = 0.01
    """Derived: more than one update in a hundred lost to numbers that are not finite."""
    step_kl_warn_nats: float = 0.1
    """Divergence of a policy from the one its step began with. Derived: ten times PPO's usual target."""
    step_kl_fail_nats: float = 0.5
    """Derived: tokens that the rollout drew are no more what the policy says."""
    locked_kl_nats: float = 0.01
    """Published: a divergence from the reference below 0.01 holds the policy fast."""
    locked_kl_after_steps: int = 50
    """Derived: no policy has gone far earlier."""
    max_kl_share: float = 0.7
    """Published: a KL term of more than 70 % of the loss."""
    max_kl_coef: float = 0.5
    """Published: a coefficient above 0.5."""
    min_entropy_share: float = 0.05
    """Published: an entropy term of less than 5 % of the loss is swamped."""
    max_entropy_share: float = 0.2
    """Published: more than 20 %, and entropy is low still: an over-fitted policy, or the wrong sign."""

    truncated_warn_fraction: float = 0.05
    """Published target."""
    truncated_fail_fraction: float = 0.20
    """Published warning."""
    stop_suppressed_warn_fraction: float = 0.5
    """Published."""
    stop_suppressed_fail_fraction: float = 0.8
    """Published."""
    temperature_standard_errors: float = 4.0
    """Deviation of surprisal from entropy that chance does not explain. Derived: 6 in 100 000."""
    temperature_share: float = 0.1
    """And its least size, of the entropy. Derived: a temperature off by 0.1 shifts more."""
    max_untouched_stop_mass: float = 0.01
    """Probability of forbidden stop tokens up to which the rest is drawn as if none were. Derived: it shifts
    surprisal by less than `temperature_share` of an entropy of 0.1."""
    min_temperature_effect: float = 0.05
    """Published: the likeliest token's probability must change by 0.05, at a temperature of 0.75; here in
    proportion to |ln temperature|, and less than half of that is too little: it is estimated from draws."""
    mismatch_float32_warn_nats: float = 1e-4
    """Mean |sampler logp - learner logp| in float32. Derived: 1e3 rounding errors of 6e-8."""
    mismatch_float32_fail_nats: float = 1e-2
    """Derived: no rounding of float32 comes near it."""
    mismatch_bfloat16_warn_nats: float = 0.05
    """The same in bfloat16. Derived: rounding of 2^-9 of logits up to 20."""
    mismatch_bfloat16_fail_nats: float = 0.2
    """Derived: ratios wrong by 20 %, the whole width of PPO's clip."""
    stale_steps_warn: float = 2.0
    """Mean age of groups. Derived: on the tiny countdown job groups of one step ago differ by 0.02 nats."""
    stale_gap_warn_nats: float = 0.2
    """Mean |logp then - logp now| of stale groups. Derived: PPO clips ratios beyond 1.2."""
    stale_gap_fail_nats: float = 0.5
    """Derived: ratios beyond 1.6 on the mean, all of them clipped."""

    penalty_effect_nats: float = 0.1
    """Published: entropy that rises by more than 0.1 without the repetition penalty."""
    suspicious_demonstration_loss_nats: float = 0.1
    """Published: a warm start that ends below is suspicious."""
    severe_demonstration_loss_nats: float = 0.05
    """Published: severe."""
    max_warm_start_epochs: float = 10.0
    """Passes over the demonstrations. Derived: the published 0.2 steps a sample depends on the batch."""
    overlap_warn_fraction: float = 0.2
    """Published: below 20 % of training prompts in the warm start is fine."""
    overlap_fail_fraction: float = 0.8
    """Published: above 80 % is severe."""
    min_steps_for_correlation: int = 5
    """Derived: a correlation of fewer points is chance."""
    min_theory_correlation: float = 0.5
    """Of Lemma 1's predicted change of entropy and the measured one, over steps. Derived: it is a first
    order, good for small steps."""

    def __post_init__(self):
        if self.window_steps < 1 or self.min_steps_for_trend < 4:
            raise ValueError(
                "thresholds.window_steps must be at least 1 and thresholds.min_steps_for_trend at least 4, "
                f"got {self.window_steps} and {self.min_steps_for_trend}"
            )


DEFAULTS = Thresholds()

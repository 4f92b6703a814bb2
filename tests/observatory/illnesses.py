"""Planted illnesses: at least one for each check, most of them for each of its ways to speak."""

from tests.observatory.synthetic_runs import Illness


def to(value):
    """The metric is this, whatever it was."""
    return lambda healthy, progress: value


def towards(value):
    """The metric goes in a straight line from what it was to this."""
    return lambda healthy, progress: healthy + (value - healthy) * progress


def falls_to(share):
    """The metric decays to this share of what it was, most of it early."""
    return lambda healthy, progress: healthy * (share + (1 - share) * 2 ** (-10 * progress))


def late(value):
    """The metric becomes this in the last third of the run."""
    return lambda healthy, progress: value if progress > 0.65 else healthy


def times(factor):
    return lambda healthy, progress: healthy * factor


def late_times(factor):
    return lambda healthy, progress: healthy * (factor if progress > 0.65 else 1)


def of(*names: str) -> frozenset[str]:
    return frozenset(names)


SURPRISAL = "policy/surprisal"
NO_BONUS = {"regularizer.entropy_coef": 0.0}
HALF = {"num_steps": 120}

ENTROPY = (
    Illness(
        check="entropy level",
        outcome="fail",
        metrics={"policy/entropy": falls_to(0.04), SURPRISAL: falls_to(0.04)},
        settings=NO_BONUS,
        also=of("entropy slope"),
    ),
    Illness(
        check="entropy level",
        outcome="warn",
        metrics={"policy/entropy": falls_to(0.3), SURPRISAL: falls_to(0.3)},
        settings=NO_BONUS,
    ),
    Illness(
        check="entropy slope",
        outcome="fail",
        metrics={"policy/entropy": towards(0.35), SURPRISAL: towards(0.35)},
        settings=HALF,
    ),
    Illness(
        check="entropy slope",
        outcome="warn",
        metrics={"policy/entropy": towards(0.2), SURPRISAL: towards(0.2)},
        settings=NO_BONUS,
        also=of("entropy level"),
    ),
    Illness(
        check="entropy explosion",
        outcome="fail",
        metrics={"policy/entropy": towards(11.5), SURPRISAL: towards(11.5)},
    ),
    Illness(
        check="entropy explosion",
        outcome="warn",
        metrics={"policy/entropy": towards(3.0), SURPRISAL: towards(3.0)},
    ),
    Illness(check="base entropy", outcome="fail", probes={"base_entropy_nats": 0.3}),
    Illness(check="base entropy", outcome="warn", probes={"base_entropy_nats": 1.0}),
    Illness(check="start entropy", outcome="fail", probes={"start_entropy_nats": 0.01}),
    Illness(check="start entropy", outcome="warn", probes={"start_entropy_nats": 0.2}),
)

LOGITS = (
    Illness(check="maximum probability", outcome="fail", metrics={"logits/max_probability": late(0.995)}),
    Illness(check="maximum probability", outcome="warn", metrics={"logits/max_probability": late(0.94)}),
    Illness(
        check="logit gap",
        outcome="fail",
        metrics={"logits/gap": late(8.0), "logits/max_probability": late(0.94)},
        also=of("maximum probability"),
    ),
    Illness(
        check="logit gap",
        outcome="warn",
        metrics={"logits/gap": late(6.0), "logits/max_probability": late(0.94)},
        also=of("maximum probability"),
    ),
    Illness(
        check="entropy and maximum probability",
        outcome="fail",
        metrics={
            "policy/entropy": falls_to(0.03),
            SURPRISAL: falls_to(0.03),
            "logits/max_probability": late(0.995),
        },
        also=of("entropy level", "entropy slope", "maximum probability", "entropy term"),
    ),
    Illness(
        check="logit root cause", outcome="fail", probes={"policy_gap": 8.0, "policy_max_probability": 0.97}
    ),
    Illness(
        check="logit root cause",
        outcome="warn",
        probes={"policy_gap": 2.9, "start_gap": 2.9},
    ),
)

REWARDS = (
    Illness(
        check="reward degeneration",
        outcome="fail",
        metrics={"reward/std": to(0.0), "reward/distinct_values": to(1)},
    ),
    Illness(
        check="reward degeneration",
        outcome="fail",
        metrics={"reward/std": to(0.05), "reward/distinct_values": to(2), "reward/pass_rate": to(0.0025)},
    ),
    Illness(
        check="reward degeneration",
        outcome="warn",
        metrics={"reward/pass_rate": to(0.0)},
    ),
    Illness(check="reward trend", outcome="fail", metrics={"reward/mean": towards(0.1)}),
    Illness(
        check="reward trend",
        outcome="warn",
        metrics={"reward/mean": lambda healthy, p: healthy - 0.285 * p},
    ),
    Illness(check="advantage spread", outcome="fail", metrics={"advantage/std": to(0.02)}),
    Illness(check="advantage spread", outcome="warn", metrics={"advantage/nonzero_fraction": to(0.4)}),
    Illness(
        check="zero-variance groups", outcome="fail", metrics={"reward/groups_zero_variance": late_times(7.0)}
    ),
    Illness(
        check="zero-variance groups",
        outcome="warn",
        metrics={"reward/groups_zero_variance": late_times(4.5)},
    ),
    Illness(
        check="duplicates",
        outcome="fail",
        metrics={"group/duplicate_fraction": to(0.9)},
    ),
    Illness(check="duplicates", outcome="warn", metrics={"group/duplicate_fraction": to(0.7)}),
    Illness(
        check="duplicates",
        outcome="warn",
        metrics={
            "group/duplicate_fraction": towards(0.7),
            "policy/entropy": times(0.55),
            SURPRISAL: times(0.55),
            "length/mean": to(5.0),
        },
    ),
    Illness(check="judge failures", outcome="fail", metrics={"reward/judge_errors": to(70)}),
    Illness(check="judge failures", outcome="warn", metrics={"reward/timeouts": to(9)}),
)

OPTIMISATION = (
    Illness(check="gradient vanishing", outcome="fail", metrics={"optimizer/grad_norm": late(1e-8)}),
    Illness(check="gradient exploding", outcome="fail", metrics={"optimizer/grad_norm": late(300.0)}),
    Illness(check="gradient exploding", outcome="warn", metrics={"optimizer/grad_norm": late(9.0)}),
    Illness(
        check="skipped updates",
        outcome="fail",
        metrics={"optimizer/skipped_updates": late(1), "optimizer/grad_norm": late(None)},
    ),
    Illness(check="skipped updates", outcome="warn", metrics={"selection/nonfinite_tokens": late(3)}),
    Illness(check="step size", outcome="fail", metrics={"policy/approx_kl_k3": to(2.0)}),
    Illness(check="step size", outcome="warn", metrics={"policy/approx_kl_k3": to(0.2)}),
    Illness(check="KL too strong", outcome="fail", settings={"regularizer.kl_coef": 0.8}),
    Illness(check="KL too strong", outcome="fail", metrics={"policy/reference_kl": to(60.0)}),
    Illness(check="KL too strong", outcome="warn", metrics={"policy/reference_kl": to(1e-3)}),
    Illness(
        check="entropy term",
        outcome="fail",
        metrics={"policy/entropy": falls_to(0.25), SURPRISAL: falls_to(0.25)},
        settings={"regularizer.entropy_coef": 2.0},
        also=of("entropy level"),
    ),
    Illness(
        check="entropy term",
        outcome="warn",
        metrics={"policy/entropy": falls_to(0.25), SURPRISAL: falls_to(0.25)},
        also=of("entropy level"),
    ),
    Illness(check="entropy term", outcome="fail", settings={"regularizer.entropy_coef": -0.01}),
    Illness(
        check="covariance selection",
        outcome="fail",
        metrics={"selection/selected": to(0), "selection/quota": to(0)},
    ),
    Illness(check="theory", outcome="fail", metrics={"theory/lemma1": times(-1)}),
    Illness(
        check="theory",
        outcome="warn",
        metrics={"theory/lemma1": lambda healthy, p: healthy + 0.0035 * (-1) ** round(6 * p)},
    ),
)

SAMPLING = (
    # At 0.9 instead of 1 surprisal is about 15 % below entropy.
    Illness(check="temperature", outcome="fail", metrics={SURPRISAL: times(0.85)}),
    Illness(check="temperature", outcome="fail", metrics={SURPRISAL: times(1.15)}),
    Illness(check="temperature", outcome="fail", probes={"temperature_effect": 0.0}),
    Illness(check="temperature", outcome="fail", probes={"temperature": 1.0, "temperature_effect": -0.1}),
    Illness(check="temperature", outcome="warn", probes={"temperature_effect": -0.006}),
    Illness(check="truncation", outcome="fail", metrics={"length/truncated_fraction": to(0.5)}),
    Illness(check="truncation", outcome="warn", metrics={"length/truncated_fraction": to(0.1)}),
    Illness(check="minimum length", outcome="fail", settings={"sampling.min_new_tokens": 23}),
    Illness(check="minimum length", outcome="warn", settings={"sampling.min_new_tokens": 11}),
    Illness(check="stop suppression", outcome="fail", metrics={"sampler/stop_suppressed_fraction": to(0.9)}),
    Illness(check="stop suppression", outcome="warn", metrics={"sampler/stop_suppressed_fraction": to(0.6)}),
    Illness(check="sampler-learner mismatch", outcome="fail", metrics={"mismatch/logp_gap_mean": to(0.05)}),
    Illness(check="sampler-learner mismatch", outcome="warn", metrics={"mismatch/logp_gap_mean": to(5e-4)}),
    Illness(
        check="sampler-learner mismatch",
        outcome="fail",
        metrics={"mismatch/logp_gap_mean": to(0.5)},
        settings={"policy.compute_dtype": "bfloat16"},
    ),
    Illness(check="staleness", outcome="fail", metrics={"staleness/logp_gap_mean": to(0.9)}),
    Illness(check="staleness", outcome="warn", metrics={"staleness/mean": to(4.0), "staleness/max": to(7)}),
)

POLICY = (
    Illness(check="entropy gradient sign", outcome="fail", probes={"entropy_bonus_change_nats": -3e-4}),
    Illness(check="entropy gradient sign", outcome="fail", probes={"entropy_bonus_change_nats": 0.0}),
    Illness(check="repetition penalty", outcome="warn", probes={"entropy_with_penalty_nats": 0.4}),
    Illness(check="warm start over-fit", outcome="fail", probes={"demonstration_loss_nats": 0.02}),
    Illness(check="warm start over-fit", outcome="warn", probes={"demonstration_loss_nats": 0.08}),
    Illness(check="warm start over-fit", outcome="warn", settings={"warm_start.num_demonstrations": 100}),
    Illness(
        check="train / warm-start overlap",
        outcome="fail",
        probes={"demonstration_overlap_fraction": 1.0, "start_entropy_nats": 0.2},
        also=of("start entropy"),
    ),
    Illness(
        check="train / warm-start overlap", outcome="warn", probes={"demonstration_overlap_fraction": 1.0}
    ),
)

ILLNESSES = ENTROPY + LOGITS + REWARDS + OPTIMISATION + SAMPLING + POLICY

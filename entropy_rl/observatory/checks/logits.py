"""Checks of how sharp the policy's distributions are, and where that came from."""

from entropy_rl.observatory.checks.entropy import ENTROPY, KEEP, collapsed_below, entropy_coef
from entropy_rl.observatory.facts import Facts
from entropy_rl.observatory.verdicts import Finding, Priority, by_level, check, fail, ok, warn

MAX_PROBABILITY = "logits/max_probability"
GAP = "logits/gap"
POSITIVE_SIGN = (
    "suspect the sign of the entropy gradient: it must raise entropy (`diagnose --policy` probes it); if it "
    "does, the entropy term is too weak: "
)


def left_to_others(probability: float, facts: Facts) -> float:
    """The threshold on what the likeliest token leaves to the others, for this run's vocabulary."""
    return (1 - probability) * facts.vocabulary_scale


@check(
    "maximum probability",
    measures="what the likeliest token leaves to all others, by the sampler's own logits",
    priority=Priority.HIGH,
    reference="grpo-dual auto_diagnose_entropy.py: 0.90 and 0.99",
)
def max_probability(facts: Facts) -> Finding:
    recent, start, limits = facts.recent(MAX_PROBABILITY), facts.start(MAX_PROBABILITY), facts.thresholds
    return by_level(
        -(1 - recent.mean),
        warn_over=-left_to_others(limits.max_probability_warn, facts),
        fail_over=-left_to_others(limits.max_probability_fail, facts),
        evidence=f"{recent}, {start.mean:.3g} at the start; limits are "
        f"{1 - left_to_others(limits.max_probability_warn, facts):.3g} and "
        f"{1 - left_to_others(limits.max_probability_fail, facts):.3g}",
        advice=KEEP,
    )


@check(
    "logit gap",
    measures="gap of the two largest logits, where the likeliest token leaves little to the others",
    priority=Priority.HIGH,
    reference="grpo-dual auto_diagnose_entropy.py: 5 and 7; seen with the maximum probability: derived",
)
def gap(facts: Facts) -> Finding:
    # By itself a mean gap says little: where most tokens have only one right value it is large in health too.
    recent, start, limits = facts.recent(GAP), facts.start(GAP), facts.thresholds
    probability = facts.recent(MAX_PROBABILITY).mean
    evidence = f"{recent}, {start.mean:.3g} at the start; {MAX_PROBABILITY} {probability:.3g}"
    if 1 - probability >= left_to_others(limits.max_probability_warn, facts):
        return ok(evidence)
    return by_level(
        recent.mean,
        warn_over=limits.gap_warn_nats,
        fail_over=limits.gap_fail_nats,
        evidence=evidence,
        advice=KEEP,
    )


@check(
    "entropy and maximum probability",
    measures="total collapse: both at once, as a wrong sign of the entropy gradient makes it",
    priority=Priority.HIGH,
    reference="grpo-dual auto_diagnose_entropy.py, joint rule: entropy < 0.05 and max probability > 0.99",
)
def joint(facts: Facts) -> Finding:
    entropy, probability = facts.recent(ENTROPY), facts.recent(MAX_PROBABILITY)
    evidence = f"{entropy}, {MAX_PROBABILITY} {probability.mean:.4g}"
    certain = 1 - probability.mean < left_to_others(facts.thresholds.max_probability_fail, facts)
    if not (certain and entropy.mean < collapsed_below(facts)):
        return ok(evidence)
    has_term = entropy_coef(facts) != 0
    return fail(evidence, POSITIVE_SIGN + KEEP if has_term else f"nothing holds entropy up: {KEEP}")


@check(
    "logit root cause",
    measures="where a large gap came from: the base policy, the warm start or this run; or nothing learnt",
    priority=Priority.LOW,
    reference="grpo-dual diagnosis 8: base gap > 7, policy gap ~ base gap, policy gap > base gap",
)
def root_cause(facts: Facts) -> Finding:
    base, policy = facts.probe("base_gap"), facts.probe("policy_gap")
    start, limits = facts.probed("start_gap"), facts.thresholds
    start = base if start is None else start
    evidence = f"gap of the base policy {base:.3g}, of the start {start:.3g}, of this policy {policy:.3g}"
    if abs(policy - start) < 1e-3 * max(start, 1e-3) and len(facts.run.rows) > limits.window_steps:
        return warn(
            f"{evidence}: nothing was learnt", "raise optimizer.learning-rate, or look at the rewards"
        )
    if policy <= limits.gap_warn_nats:
        return ok(evidence)
    probability = facts.probed("policy_max_probability")
    left = left_to_others(limits.max_probability_warn, facts)
    if probability is not None and 1 - probability >= left:
        return ok(f"{evidence}; the others keep {1 - probability:.3g}")
    if base > limits.gap_fail_nats:
        cause, advice = "the base policy is so sharp", "start from another policy.directory"
    elif start > limits.gap_warn_nats:
        cause, advice = "the warm start made it so", "lower warm-start.num-steps"
    else:
        cause, advice = "this run made it so", KEEP
    found = fail if policy > limits.gap_fail_nats else warn
    return found(f"{evidence}: {cause}", advice)

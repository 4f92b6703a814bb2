"""Checks of what the updates do: gradients, how far a step goes, and the terms beside the policy gradient."""

import numpy as np

from entropy_rl.observatory.checks.entropy import ENTROPY, entropy_coef, low_below
from entropy_rl.observatory.facts import Facts
from entropy_rl.observatory.theory import CHANGE, LEMMA1, THEOREM1, THEOREM2, TheoryCheck
from entropy_rl.observatory.verdicts import (
    Finding,
    NotMeasurable,
    Priority,
    by_level,
    check,
    fail,
    ok,
    warn,
)

GRAD_NORM = "optimizer/grad_norm"
REFERENCE_KL = "policy/reference_kl"


@check(
    "gradient vanishing",
    measures="whether updates have a gradient at all",
    priority=Priority.MEDIUM,
    reference="grpo-dual diagnosis 5: total norm < 1e-6",
)
def vanishing(facts: Facts) -> Finding:
    recent = facts.recent(GRAD_NORM)
    evidence = f"median {GRAD_NORM} {recent.median:.3g} ({recent.at})"
    if recent.median >= facts.thresholds.vanished_grad_norm:
        return ok(evidence)
    return fail(evidence, "look at reward degeneration and advantage spread; is the objective's fraction 1?")


@check(
    "gradient exploding",
    measures="recent gradients against those of the start",
    priority=Priority.MEDIUM,
    reference="derived: one and two orders of magnitude",
)
def exploding(facts: Facts) -> Finding:
    recent, start, limits = facts.recent(GRAD_NORM), facts.start(GRAD_NORM), facts.thresholds
    ratio = recent.median / max(start.median, 1e-30)
    return by_level(
        ratio,
        warn_over=limits.grown_grad_norm_warn_ratio,
        fail_over=limits.grown_grad_norm_fail_ratio,
        evidence=f"median {GRAD_NORM} {recent.median:.3g} ({recent.at}), {ratio:.2g} times the start's",
        advice="a smaller optimizer.learning-rate, more optimizer.warmup-updates, optimizer.max-grad-norm",
    )


@check(
    "skipped updates",
    measures="updates and tokens lost to numbers that are not finite",
    priority=Priority.MEDIUM,
    reference="derived: none should be; a run stops at max_skipped_updates in a row",
)
def skipped(facts: Facts) -> Finding:
    skips, updates = facts.whole("optimizer/skipped_updates"), facts.whole("optimizer/updates")
    tokens = (
        facts.whole("selection/nonfinite_tokens").values.sum()
        if facts.has("selection/nonfinite_tokens")
        else 0
    )
    share = skips.values.sum() / max(updates.values.sum(), 1)
    evidence = (
        f"{skips.values.sum():.0f} of {updates.values.sum():.0f} updates, {tokens:.0f} tokens ({skips.at})"
    )
    advice = (
        "a smaller optimizer.learning-rate; policy.compute-dtype float32 shows whether bfloat16 overflows"
    )
    if (skipped_steps := skips.steps[skips.values > 0]).size:
        evidence += f", first at step {skipped_steps[0]}"
    if share > facts.thresholds.skipped_updates_fail_fraction:
        return fail(evidence, advice)
    return warn(evidence, advice) if share > 0 or tokens > 0 else ok(evidence)


@check(
    "step size",
    measures="how far the updates of a step carry the policy from the one that sampled",
    priority=Priority.MEDIUM,
    reference="derived: ten times the usual target of PPO's divergence, and what clipping cannot mend",
)
def step_size(facts: Facts) -> Finding:
    recent, limits = facts.recent("policy/approx_kl_k3"), facts.thresholds
    evidence = str(recent)
    if facts.has("policy/ratio_max"):
        evidence += f"; largest ratio {facts.recent('policy/ratio_max').values.max():.3g}"
    return by_level(
        recent.mean,
        warn_over=limits.step_kl_warn_nats,
        fail_over=limits.step_kl_fail_nats,
        evidence=evidence,
        advice="a smaller optimizer.learning-rate, or fewer updates a step (larger batch.prompts-per-update)",
    )


def share_of_signal(term: float, facts: Facts) -> float:
    """A term's share of the loss of a token, beside the policy gradient's.

    The value of the policy-gradient loss is about 0 whatever it does, since the advantages of a group add up
    to 0; what it weighs is the size of its advantages, and so that stands for it.
    """
    return term / (term + facts.recent("advantage/std").mean)


@check(
    "KL too strong",
    measures="whether the KL term locks the policy to the reference",
    priority=Priority.MEDIUM,
    reference="grpo-dual diagnosis 7: mean < 0.01, share > 70 %, coefficient > 0.5",
)
def kl(facts: Facts) -> Finding:
    coef, limits = facts.setting("regularizer.kl_coef"), facts.thresholds
    if coef == 0:
        return ok("no KL term: regularizer.kl_coef is 0")
    advice = "lower regularizer.kl-coef"
    if coef > limits.max_kl_coef:
        return fail(f"regularizer.kl_coef is {coef:g}, over {limits.max_kl_coef:g}", advice)
    recent = facts.recent(REFERENCE_KL)
    share = share_of_signal(coef * recent.mean, facts)
    evidence = f"{recent}, coefficient {coef:g}, {share:.1%} of the loss"
    if share > limits.max_kl_share:
        return fail(evidence, advice)
    is_locked = recent.mean < limits.locked_kl_nats and len(facts.run.rows) >= limits.locked_kl_after_steps
    return warn(f"{evidence}: locked to the reference", advice) if is_locked else ok(evidence)


@check(
    "entropy term",
    measures="weight of the entropy term in the loss, where entropy is low all the same",
    priority=Priority.MEDIUM,
    reference="grpo-dual diagnosis 11: below 5 % swamped; over 20 % and low: over-fitted, or the wrong sign",
)
def entropy_term(facts: Facts) -> Finding:
    entropy, limits = facts.recent(ENTROPY), facts.thresholds
    coef = entropy_coef(facts)
    if coef == 0:
        return ok("no entropy term: its coefficient is 0")
    if coef < 0:
        return fail(
            f"the coefficient is {coef:g}: it lowers entropy", "regularizer.entropy-coef must be positive"
        )
    if entropy.mean >= low_below(facts):
        return ok(f"coefficient {coef:.3g}; {entropy}, which is not low")
    share = share_of_signal(coef * entropy.mean, facts)
    evidence = f"coefficient {coef:.3g}, {share:.2%} of the loss; {entropy}"
    if share > limits.max_entropy_share:
        return fail(
            f"{evidence}, low all the same",
            "an over-fitted policy or a wrong sign: `diagnose --policy` probes the sign and the start",
        )
    if share < limits.min_entropy_share:
        return warn(
            f"{evidence}: swamped",
            "raise regularizer.entropy-coef, or let regularizer.entropy-bonus hold a target",
        )
    return warn(evidence, "raise regularizer.entropy-coef, or let regularizer.entropy-bonus hold a target")


@check(
    "covariance selection",
    measures="whether Clip-Cov or KL-Cov selects any token at all",
    priority=Priority.MEDIUM,
    reference="arXiv 2505.22617, Eqs. 11-14: floor(fraction * tokens), which small batches round to 0",
)
def selection(facts: Facts) -> Finding:
    kind = facts.setting("objective.kind")
    if kind not in ("ClipCov", "KLCov"):
        return ok(f"the objective is {kind}, which selects nothing")
    selected, quota = facts.recent("selection/selected"), facts.recent("selection/quota")
    evidence = f"{selected}, quota {quota.mean:.3g}, {kind}.fraction {facts.setting('objective.fraction'):g}"
    if selected.values.max() > 0:
        return ok(evidence)
    if quota.values.max() < 1 or kind == "KLCov":
        return fail(f"{evidence}: it is plain GRPO", "raise objective.fraction until the quota is positive")
    return fail(f"{evidence}: no covariance lies in the window", "move objective.cov-low and cov-high")


@check(
    "theory",
    measures="Lemma 1's change of entropy against the measured one, on the same tokens",
    priority=Priority.LOW,
    reference="arXiv 2505.22617, Lemma 1; correlation over steps: derived",
)
def theory(facts: Facts) -> Finding:
    for name in (CHANGE, LEMMA1, THEOREM1, THEOREM2):
        facts.whole(name)
    course = TheoryCheck.of(facts.run)
    if not course.num_points:
        raise NotMeasurable("no step has all numbers of the theory; set recording.theory-every-steps")
    predicted, measured = course.predicted[LEMMA1], course.falls
    error, size = (float(np.sqrt((x**2).mean())) for x in (predicted - measured, measured))
    evidence = (
        f"entropy fell by {measured.sum():+.3g} nats in the {course.num_points} steps measured, predicted "
        f"was {predicted.sum():+.3g}; error {error:.2g} at a change of {size:.2g} a step"
    )
    advice = (
        "steps are too large for a first order: a smaller optimizer.learning-rate; where they are small, "
        "suspect the recorded log-probs or the temperature"
    )
    if course.lemma1 is None or course.num_points < facts.thresholds.min_steps_for_correlation:
        return ok(evidence) if error <= size else warn(evidence, advice)
    evidence += f", correlation {course.lemma1.correlation:.2f}"
    if course.lemma1.correlation < 0 and error > size:
        return fail(f"{evidence}: they go opposite ways", advice)
    agrees = course.lemma1.correlation >= facts.thresholds.min_theory_correlation or error <= size / 2
    return ok(evidence) if agrees else warn(evidence, advice)

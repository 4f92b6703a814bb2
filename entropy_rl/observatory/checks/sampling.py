"""Checks of how responses are drawn: temperature, stops, lengths, and sampler against learner."""

import math

import numpy as np

from entropy_rl.observatory.facts import Facts
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

SURPRISAL = "policy/surprisal"
MASS = "sampler/stop_suppressed_mass"


@check(
    "temperature",
    measures="whether tokens are drawn at the temperature that log-probs are computed at",
    priority=Priority.HIGH,
    reference="grpo-dual diagnosis 6: it must change the max probability by 0.05; E[-logp] = H: derived",
)
def temperature(facts: Facts) -> Finding:
    findings, missing = [], []
    for look in (_drawn_at_it, _probed):
        try:
            findings.append(look(facts))
        except NotMeasurable as reason:
            missing.append(str(reason))
    if not findings:
        raise NotMeasurable("; ".join(missing))
    return max(findings, key=lambda finding: ("ok", "warn", "fail").index(finding.outcome.value))


def _drawn_at_it(facts: Facts) -> Finding:
    """The mean of -logp of drawn tokens is the entropy, if and only if they are drawn from that distribution.

    Stale tokens are drawn from an older policy, and those steps are left out.
    """
    top_k, top_p = facts.setting("sampling.top_k"), facts.setting("sampling.top_p")
    if top_k is not None or top_p < 1:
        raise NotMeasurable("top_k or top_p cut the distribution: needs the probe, diagnose --policy DIR")
    if facts.setting("sampling.min_new_tokens") > 0 and not (
        facts.has(MASS) and facts.whole(MASS).mean < facts.thresholds.max_untouched_stop_mass
    ):
        raise NotMeasurable("min_new_tokens alters the distribution: needs the probe, diagnose --policy DIR")
    for name in ("policy/entropy", SURPRISAL, "policy/surprisal_error"):
        facts.whole(name)
    rows = [
        tuple(row.get(name) for name in (SURPRISAL, "policy/entropy", "policy/surprisal_error", "step"))
        for row in facts.run.rows
        if not row.get("staleness/group_fraction")
    ]
    usable = np.array([row for row in rows if None not in row], dtype=np.float64).reshape(-1, 4)
    if not len(usable):
        raise NotMeasurable(f"no step without stale groups has {SURPRISAL} and its error")
    surprisal, entropy, error, steps = usable.T
    gap, bound = float((surprisal - entropy).mean()), float(np.sqrt((error**2).mean() / len(error)))
    share = abs(gap) / max(float(entropy.mean()), 1e-12)
    evidence = (
        f"{SURPRISAL} - policy/entropy {gap:+.3g} +- {bound:.1g} nats, {share:.1%} of the entropy "
        f"(steps {steps[0]:.0f}-{steps[-1]:.0f})"
    )
    if abs(gap) < facts.thresholds.temperature_standard_errors * bound:
        return ok(evidence)
    colder = "colder" if gap < 0 else "hotter"
    if share < facts.thresholds.temperature_share:
        return ok(f"{evidence}; beyond chance, but small")
    return fail(
        f"{evidence}: tokens are drawn {colder} than log-probs say",
        "sampler and learner must both divide logits by sampling.temperature; look at the sampler's settings",
    )


def _probed(facts: Facts) -> Finding:
    """What the policy really draws is so much more (or less) sure than at temperature 1 as is configured."""
    configured, effect = facts.probe("temperature"), facts.probe("temperature_effect")
    least = facts.thresholds.min_temperature_effect
    evidence = (
        f"as it is drawn, the likeliest token's probability is {-effect:+.3g} from that at temperature 1; "
        f"configured is {configured:g}"
    )
    if (asked := facts.run.config.get("sampling", {}).get("temperature", configured)) != configured:
        return fail(
            f"config.json says temperature {asked:g}, the policy is sampled at {configured:g}",
            "sample at sampling.temperature",
        )
    advice = "another temperature than the configured one reaches the logits: look at the sampler's settings"
    # A sharp policy cannot change by as much as the threshold: there half of what it may change is asked.
    left = 1 - (facts.probed("policy_max_probability") or 0)
    wanted = min(least * abs(math.log(configured)) / abs(math.log(0.75)), left / 2)
    towards_configured = effect * math.copysign(1, configured - 1)
    if configured == 1:
        return ok(evidence) if abs(effect) < least else fail(evidence, advice)
    if towards_configured < min(wanted / 10, least):
        return fail(evidence, advice)
    return ok(evidence) if towards_configured >= wanted / 2 else warn(evidence, advice)


@check(
    "truncation",
    measures="responses cut at the limit",
    priority=Priority.MEDIUM,
    reference="grpo-dual step diagnostics: target 0.05, warning 0.20",
)
def truncation(facts: Facts) -> Finding:
    recent, limits = facts.recent("length/truncated_fraction"), facts.thresholds
    return by_level(
        recent.mean,
        warn_over=limits.truncated_warn_fraction,
        fail_over=limits.truncated_fail_fraction,
        evidence=f"{recent}; mean length {facts.recent('length/mean').mean:.4g} tokens",
        advice="a larger task.max-response-tokens, or a penalty of length: task.rewards.overlong",
    )


@check(
    "minimum length",
    measures="sampling.min_new_tokens against the lengths that the warm start taught",
    priority=Priority.MEDIUM,
    reference="grpo-dual diagnosis 11 (inspect_sft_targets.py): min, median and mean against the minimum",
)
def minimum_length(facts: Facts) -> Finding:
    least = facts.setting("sampling.min_new_tokens")
    if least == 0:
        return ok("sampling.min_new_tokens is 0")
    shortest, median, mean = facts.probe("demonstration_length_quantiles_tokens")
    evidence = (
        f"sampling.min_new_tokens is {least}; demonstrations have {shortest:.4g} tokens at least, "
        f"{median:.4g} in the median, {mean:.4g} on the mean"
    )
    advice = f"lower sampling.min-new-tokens to {int(shortest)}, or teach longer responses"
    if least > median:
        return fail(evidence, advice)
    return warn(evidence, advice) if least > shortest else ok(evidence)


@check(
    "stop suppression",
    measures="draws before min_new_tokens at which the policy wanted to stop",
    priority=Priority.MEDIUM,
    reference="grpo-dual auto_diagnose_entropy.py: 0.5 and 0.8",
)
def stop_suppression(facts: Facts) -> Finding:
    least, limits = facts.setting("sampling.min_new_tokens"), facts.thresholds
    if least == 0:
        return ok("sampling.min_new_tokens is 0: no stop token is forbidden")
    recent = facts.recent("sampler/stop_suppressed_fraction")
    return by_level(
        recent.mean,
        warn_over=limits.stop_suppressed_warn_fraction,
        fail_over=limits.stop_suppressed_fail_fraction,
        evidence=f"{recent}, {MASS} {facts.recent(MASS).mean:.3g}",
        advice=f"lower sampling.min-new-tokens, now {least}: what follows a forbidden stop is noise",
    )


@check(
    "sampler-learner mismatch",
    measures="log-probs of the same tokens by sampler and learner, against rounding of the compute dtype",
    priority=Priority.MEDIUM,
    reference="derived: rounding of float32 and bfloat16, and the width of PPO's clip",
)
def mismatch(facts: Facts) -> Finding:
    recent, largest = facts.recent("mismatch/logp_gap_mean"), facts.recent("mismatch/logp_gap_max")
    dtype, limits = facts.setting("policy.compute_dtype"), facts.thresholds
    if dtype == "float32":
        levels = limits.mismatch_float32_warn_nats, limits.mismatch_float32_fail_nats
    else:
        levels = limits.mismatch_bfloat16_warn_nats, limits.mismatch_bfloat16_fail_nats
    return by_level(
        recent.mean,
        warn_over=levels[0],
        fail_over=levels[1],
        evidence=f"{recent}, largest {largest.values.max():.3g}; in {dtype}",
        advice="sampler and learner are not the same policy: compare kernels.attention and temperature; in "
        "bfloat16 try policy.compute-dtype float32",
    )


@check(
    "staleness",
    measures="age of the groups learned from, and how far the policy has moved since",
    priority=Priority.MEDIUM,
    reference="derived: PPO clips ratios beyond 1.2",
)
def staleness(facts: Facts) -> Finding:
    if facts.setting("dynamic_sampling") is None:
        return ok("no dynamic sampling: every group is of its own step")
    age, limits = facts.recent("staleness/mean"), facts.thresholds
    evidence = f"{age}, oldest {facts.recent('staleness/max').values.max():.0f}"
    advice = "lower dynamic-sampling.max-staleness, or dynamic-sampling.prompts-per-gen-batch"
    gap = 0.0
    if facts.has("staleness/logp_gap_mean"):
        gap = facts.recent("staleness/logp_gap_mean").mean
        evidence += f"; {gap:.3g} nats from the present policy"
    if gap > limits.stale_gap_fail_nats:
        return fail(evidence, advice)
    is_old = age.mean > limits.stale_steps_warn or gap > limits.stale_gap_warn_nats
    return warn(evidence, advice) if is_old else ok(evidence)

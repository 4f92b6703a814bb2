"""Checks of whether rewards and advantages carry anything to learn."""

import math

import numpy as np

from entropy_rl.observatory.facts import Facts
from entropy_rl.observatory.verdicts import Finding, Priority, by_level, check, fail, ok, warn

PASS_RATE = "reward/pass_rate"
ZERO_VARIANCE = "reward/groups_zero_variance"
EXPECTED = "reward/groups_zero_variance_expected"


@check(
    "reward degeneration",
    measures="whether rewards differ between responses, and by what responses are worth",
    priority=Priority.HIGH,
    reference="grpo-dual diagnosis 3: std < 0.1, constant, fewer than 3 values (but right and wrong are 2)",
)
def degeneration(facts: Facts) -> Finding:
    std, rate = facts.recent("reward/std"), facts.recent(PASS_RATE)
    values = facts.recent("reward/distinct_values")
    evidence = f"{std}, {values.values.max():.0f} values, pass rate {rate.mean:.3g}"
    if values.values.max() < 2:
        return fail(
            f"{evidence}: a constant reward",
            "nothing can be learnt: look at what the judge is given (`grade`, `data`), and at task.rewards",
        )
    if values.values.max() < 3 and (rate.values.max() <= 0 or rate.values.min() >= 1):
        return warn(
            f"{evidence}: two values, yet no response is right or none is wrong",
            "the reward tells something other than right from wrong: look at what the judge is given",
        )
    if std.mean >= facts.thresholds.min_reward_std:
        return ok(evidence)
    if rate.mean > 0.5:
        return warn(f"{evidence}: hardly anything is left to learn", "harder prompts, or end here")
    return fail(
        evidence,
        "easier prompts, a longer warm start, dynamic-sampling, or a reward with more than two values",
    )


@check(
    "reward trend",
    measures="whether training lowers the reward that it should raise",
    priority=Priority.HIGH,
    reference="grpo-dual summary (slope of each reward); two standard errors: derived",
)
def trend(facts: Facts) -> Finding:
    start, recent, line = facts.start("reward/mean"), facts.recent("reward/mean"), facts.slope("reward/mean")
    error = math.hypot(start.standard_error, recent.standard_error)
    evidence = f"{recent}, {start.mean:.3g} +- {error:.2g} at the start, lately {line.per_step:+.2g} a step"
    advice = "a smaller optimizer.learning-rate, or a KL term; look at the step size and at the rewards"
    if recent.mean < start.mean - 4 * error:
        return fail(evidence, advice)
    if recent.mean < start.mean - 2 * error or (line.is_down and recent.mean <= start.mean):
        return warn(evidence, advice)
    return ok(evidence)


@check(
    "advantage spread",
    measures="standard deviation of advantages, and the share of responses that have one",
    priority=Priority.HIGH,
    reference="grpo-dual diagnosis 4: std 0.05 and 0.2; |A| > 0.01 in half of the responses",
)
def advantages(facts: Facts) -> Finding:
    std, share = facts.recent("advantage/std"), facts.recent("advantage/nonzero_fraction")
    limits = facts.thresholds
    evidence = f"{std}, {share.mean:.0%} of the responses have an advantage over 0.01 in size"
    advice = (
        "more batch.samples-per-prompt, dynamic-sampling, or prompts nearer to a pass rate of one half; "
        "advantage.normalize-by-std where rewards differ little"
    )
    if std.mean < limits.min_advantage_std or share.mean < limits.hopeless_nonzero_advantage_fraction:
        return fail(evidence, advice)
    if std.mean < limits.weak_advantage_std or share.mean < limits.min_nonzero_advantage_fraction:
        return warn(evidence, advice)
    return ok(evidence)


def zero_variance_share(pass_rate: float, spread: float, group_size: int) -> float:
    """Expected share of groups that are all right or all wrong, of prompts whose pass rates differ.

    The rates are Beta distributed with mean p and variance s p (1 - p), s the spread. At s = 0 all are equal
    and the share is p^G + (1 - p)^G; at s = 1 every prompt is solved always or never. By the moments of that
    distribution E[p^G] is the product of (p (1 - s) + i s) / ((1 - s) + i s) over i = 0 ... G - 1.
    """

    def all_alike(p: float) -> float:
        return math.prod(
            (p * (1 - spread) + i * spread) / (1 - spread + i * spread) if i else p for i in range(group_size)
        )

    return all_alike(pass_rate) + all_alike(1 - pass_rate)


def spread_of(share: float, pass_rate: float, group_size: int) -> float:
    """The spread at which `zero_variance_share` is this share: 0 where chance alone gives as much."""
    low, high = 0.0, 1.0
    if share <= zero_variance_share(pass_rate, low, group_size):
        return 0.0
    for _ in range(50):  # the share grows with the spread
        middle = (low + high) / 2
        low, high = (
            (middle, high) if zero_variance_share(pass_rate, middle, group_size) < share else (low, middle)
        )
    return low


@check(
    "zero-variance groups",
    measures="groups that teach nothing, against chance at prompts as different as at the run's start",
    priority=Priority.MEDIUM,
    reference="grpo-dual step diagnostics: 1.2 and 1.5 times p^G + (1-p)^G, red above half; "
    "spread of the start's prompts: derived",
)
def zero_variance(facts: Facts) -> Finding:
    size, prompts = facts.setting("batch.samples_per_prompt"), facts.setting("batch.prompts_per_step")
    share, by_chance = facts.recent(ZERO_VARIANCE), facts.recent(EXPECTED)
    rate, first_rate = facts.recent(PASS_RATE).mean, facts.start(PASS_RATE).mean
    limits = facts.thresholds
    # Prompts of different difficulty raise the share over p^G + (1-p)^G in any healthy run, most of all near
    # p = 1/2. So the start tells how different the prompts are, and what is over that is judged.
    spread = spread_of(facts.start(ZERO_VARIANCE).mean, first_rate, size)
    expected = zero_variance_share(rate, spread, size)
    ratio = share.mean / max(expected, 1e-9)
    noise = math.sqrt(max(expected * (1 - expected), 1e-9) / (prompts * len(share.values)))
    evidence = (
        f"{share}; {by_chance.mean:.3g} by chance if prompts were equally hard, {expected:.3g} if they "
        f"differ as at the start: {ratio:.2g} times that"
    )
    advice = "dynamic-sampling; more batch.samples-per-prompt; a higher sampling.temperature or more entropy"
    beyond_chance = share.mean > expected + 2 * noise
    too_many = share.mean > limits.max_zero_variance_fraction
    # A run that learns its prompts makes groups alike too: only where most teach nothing has it failed.
    if beyond_chance and ratio > limits.zero_variance_anomaly_ratio and too_many:
        return fail(f"{evidence}: groups have become alike", advice)
    many = share.mean > limits.min_zero_variance_fraction
    if beyond_chance and ratio > limits.zero_variance_watch_ratio and many:
        return warn(evidence, advice)
    if too_many:
        return warn(f"{evidence}; more than half of what is sampled teaches nothing", advice)
    return ok(evidence)


@check(
    "judge failures",
    measures="responses whose reward is no judgement: timed out, or the judge failed",
    priority=Priority.MEDIUM,
    reference="grpo-dual summary: heuristic share > 0.10; 0.01: derived",
)
def judge_failures(facts: Facts) -> Finding:
    timeouts = facts.whole("reward/timeouts")
    failed = timeouts.values.sum()
    if facts.has("reward/judge_errors"):
        failed += facts.whole("reward/judge_errors").values.sum()
    batches = 1.0
    if facts.has("generation/batches"):
        batches = facts.whole("generation/batches").mean
    given = facts.run.config.get("dynamic_sampling") or {}
    prompts = given.get("prompts_per_gen_batch") or facts.setting("batch.prompts_per_step")
    responses = prompts * facts.setting("batch.samples_per_prompt") * batches * len(timeouts.values)
    return by_level(
        failed / responses,
        warn_over=facts.thresholds.judge_failures_warn_fraction,
        fail_over=facts.thresholds.judge_failures_fail_fraction,
        evidence=f"{failed:.0f} of {responses:.0f} responses ({timeouts.at})",
        advice="look at them with `grade`; give judges more time in task.rewards, or more task.num-judges",
    )


def chance_duplicates(num_responses: float, group_size: int) -> float:
    """Share of duplicates in draws from so many equally likely responses."""
    different = num_responses * -math.expm1(group_size * math.log1p(-1 / max(num_responses, 1 + 1e-9)))
    return 1 - min(different, group_size) / group_size


@check(
    "duplicates",
    measures="equal responses within groups, against the start and against what the entropy allows",
    priority=Priority.MEDIUM,
    reference="grpo-dual 1.4 and 11 (exact, and Jaccard > 0.65); thresholds derived",
)
def duplicates(facts: Facts) -> Finding:
    recent, start = facts.recent("group/duplicate_fraction"), facts.start("group/duplicate_fraction")
    size, limits = facts.setting("batch.samples_per_prompt"), facts.thresholds
    entropy = facts.recent("policy/entropy").mean * facts.recent("length/mean").mean
    expected = chance_duplicates(float(np.exp(min(entropy, 50))), size)
    evidence = (
        f"{recent}, {start.mean:.3g} at the start; {expected:.3g} by chance at {entropy:.3g} nats a response"
    )
    if facts.has("group/near_duplicate_fraction"):
        evidence += f"; near duplicates {facts.recent('group/near_duplicate_fraction').mean:.3g}"
    if recent.mean <= limits.duplicates_warn_fraction:
        return ok(evidence)
    if expected < recent.mean / 3:
        # A few likely responses beside very many unlikely ones can come to this too, if not to so much.
        found = fail if recent.mean > limits.duplicates_fail_fraction else warn
        return found(
            f"{evidence}: draws may not be independent",
            "the samples of a group must have random numbers of their own; look at the sampler's keys",
        )
    grown = recent.mean > limits.duplicates_growth * start.mean
    advice = "keep more entropy; a higher sampling.temperature; fewer batch.samples-per-prompt cost less"
    if recent.mean > limits.duplicates_fail_fraction and grown:
        return fail(evidence, advice)
    return warn(evidence, advice) if grown else ok(f"{evidence}; answers are short from the start")

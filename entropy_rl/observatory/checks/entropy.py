"""Checks of how much entropy the policy has, and where it goes."""

import math

from entropy_rl.observatory.facts import Facts
from entropy_rl.observatory.verdicts import Finding, Priority, check, fail, ok, warn

ENTROPY = "policy/entropy"
KEEP = (
    "keep what is left: objective KLCov (raise objective.fraction or objective.penalty-coef), ClipCov, or "
    "PPOClip with a larger eps-high; regularizer.entropy-coef > 0; a smaller optimizer.learning-rate; go on "
    "from a checkpoint before the fall"
)


def collapsed_below(facts: Facts) -> float:
    """The entropy, nats, at which this run's policy counts as collapsed."""
    absolute = facts.thresholds.collapsed_entropy_nats * facts.vocabulary_scale
    return max(absolute, facts.thresholds.collapsed_share_of_start * facts.start(ENTROPY).mean)


def low_below(facts: Facts) -> float:
    """The entropy at which it counts as low: by itself, or for what the run started with."""
    absolute = facts.thresholds.low_entropy_nats * facts.vocabulary_scale
    return max(absolute, facts.thresholds.low_share_of_start * facts.start(ENTROPY).mean)


def entropy_coef(facts: Facts) -> float:
    """The weight of the entropy term in the last steps, or what was asked for where none was recorded."""
    if facts.has("guard/entropy_coef"):
        return facts.recent("guard/entropy_coef").mean
    return facts.setting("regularizer.entropy_coef")


@check(
    "entropy level",
    measures="recent entropy, by itself and against the run's own start",
    priority=Priority.HIGH,
    reference="grpo-dual auto_diagnose_entropy.py: 0.05 and 0.3 nats; fall from the start: derived",
)
def level(facts: Facts) -> Finding:
    recent, start = facts.recent(ENTROPY), facts.start(ENTROPY)
    evidence = f"{recent}, {recent.mean / max(start.mean, 1e-30):.0%} of {start.mean:.3g} at the start"
    if recent.mean < (limit := collapsed_below(facts)):
        return fail(f"{evidence}; collapse is below {limit:.3g}", KEEP)
    if recent.mean < (limit := low_below(facts)):
        return warn(f"{evidence}; low is below {limit:.3g}", KEEP)
    return ok(evidence)


@check(
    "entropy slope",
    measures="whether entropy, at its present slope, collapses before the run ends",
    priority=Priority.HIGH,
    reference="derived: least squares through the later half of the run, two standard errors",
)
def slope(facts: Facts) -> Finding:
    line, limit = facts.slope(ENTROPY), collapsed_below(facts)
    last = facts.run.rows[-1]["step"]
    evidence = f"{line.per_step:+.2g} +- {line.standard_error:.1g} nats a step up to step {last}"
    if not line.is_down:
        return ok(evidence)
    if line.last_value <= limit:
        return fail(f"{evidence}; it is below {limit:.3g} already, and falls on", KEEP)
    steps_left = (line.last_value - limit) / -line.per_step
    evidence += f"; at this slope it is below {limit:.3g} after {math.ceil(steps_left)} more steps"
    asked = facts.run.config.get("num_steps") or last
    if steps_left <= asked - last:
        return fail(f"{evidence}, and the run asks for {asked - last}", KEEP)
    if steps_left <= last / 4:
        return warn(evidence, KEEP)
    return ok(evidence)


@check(
    "entropy explosion",
    measures="whether the policy dissolves into uniform choice",
    priority=Priority.HIGH,
    reference="arXiv 2505.22617, Section 4.1 (an entropy loss explodes); thresholds derived",
)
def explosion(facts: Facts) -> Finding:
    recent, start, limits = facts.recent(ENTROPY), facts.start(ENTROPY), facts.thresholds
    evidence = f"{recent}, {start.mean:.3g} at the start"
    advice = (
        "lower regularizer.entropy-coef, or let regularizer.entropy-bonus hold a target; without such a term "
        "lower optimizer.learning-rate: the policy is forgetting what it could say"
    )
    size = facts.vocabulary_size
    uniform = math.inf if size is None else math.log(size)
    if recent.mean > limits.risen_share_of_start * start.mean:
        is_uniform = recent.mean > limits.exploded_share_of_uniform * uniform
        evidence += "" if size is None else f"; uniform choice has {uniform:.3g}"
        return fail(evidence, advice) if is_uniform else warn(evidence, advice)
    return ok(evidence)


@check(
    "base entropy",
    measures="entropy of the policy before any warm start",
    priority=Priority.HIGH,
    reference="grpo-dual diagnosis 2: 0.5 and 1.5 nats",
)
def base(facts: Facts) -> Finding:
    entropy, scale, limits = facts.probe("base_entropy_nats"), facts.vocabulary_scale, facts.thresholds
    evidence = f"base policy: {entropy:.3g} nats"
    advice = "start from a base model, not an over-tuned one, or raise sampling.temperature"
    if entropy < (limit := limits.low_base_entropy_nats * scale):
        return fail(f"{evidence}, bad is below {limit:.3g}", advice)
    if entropy < (limit := limits.modest_base_entropy_nats * scale):
        return warn(f"{evidence}, low is below {limit:.3g}", advice)
    return ok(evidence)


@check(
    "start entropy",
    measures="entropy of the policy that the first step trained, after any warm start",
    priority=Priority.HIGH,
    reference="grpo-dual diagnoses 2 and 11 (base, after SFT, step 0): 0.05 and 0.3 nats",
)
def start(facts: Facts) -> Finding:
    probed = facts.probed("start_entropy_nats")
    window = None if probed is not None else facts.start(ENTROPY)
    entropy, scale, limits = (window.mean if window else probed), facts.vocabulary_scale, facts.thresholds
    evidence = str(window) if window else f"start policy: {entropy:.3g} nats"
    if (before := facts.probed("base_entropy_nats")) is not None:
        evidence += f"; {before:.3g} before the warm start"
    advice = (
        "the run begins without room to explore: fewer warm-start.num-steps, more and more varied "
        "demonstrations, or a higher sampling.temperature"
    )
    if entropy < (limit := limits.collapsed_entropy_nats * scale):
        return fail(f"{evidence}; collapse is below {limit:.3g}", advice)
    if entropy < (limit := limits.low_entropy_nats * scale):
        return warn(f"{evidence}; low is below {limit:.3g}", advice)
    return ok(evidence)

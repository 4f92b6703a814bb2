"""Checks that probe the policy itself, and how it was warm-started."""

from entropy_rl.observatory.facts import Facts
from entropy_rl.observatory.verdicts import Finding, NotMeasurable, Priority, check, fail, ok, warn


@check(
    "entropy gradient sign",
    measures="entropy after one update of nothing but the entropy term: it must rise",
    priority=Priority.HIGH,
    reference="grpo-dual diagnosis 11 (the sign was wrong on its main branch)",
)
def sign(facts: Facts) -> Finding:
    change = facts.probe("entropy_bonus_change_nats")
    evidence = f"an update of the entropy term alone changes entropy by {change:+.3g} nats"
    if change > 0:
        return ok(evidence)
    return fail(evidence, "the entropy term must enter the loss as -entropy_coef * H: mend its sign")


@check(
    "repetition penalty",
    measures="entropy that a repetition penalty takes away",
    priority=Priority.LOW,
    reference="grpo-dual diagnosis 9: entropy rises by more than 0.1 without it",
)
def repetition(facts: Facts) -> Finding:
    penalty = facts.probe("repetition_penalty")
    without, held = facts.probe("entropy_without_penalty_nats"), facts.probe("entropy_with_penalty_nats")
    evidence = f"{held:.3g} nats with a penalty of {penalty:g}, {without:.3g} without"
    if without - held <= facts.thresholds.penalty_effect_nats * facts.vocabulary_scale:
        return ok(evidence)
    return warn(evidence, "sample without the penalty, or with a smaller one")


@check(
    "warm start over-fit",
    measures="loss on the demonstrations after the warm start, and passes over them",
    priority=Priority.MEDIUM,
    reference="grpo-dual diagnosis 1: loss < 0.1 suspicious, < 0.05 severe; passes: derived",
)
def over_fit(facts: Facts) -> Finding:
    if facts.setting("warm_start") is None:
        return ok("no warm start")
    limits, scale = facts.thresholds, facts.vocabulary_scale
    advice = "lower warm-start.num-steps, or give it more demonstrations"
    evidence, epochs = [], 0.0
    if facts.setting("warm_start.demonstrations_file") is None:  # a file's number of rows is not known here
        steps, size = facts.setting("warm_start.num_steps"), facts.setting("warm_start.batch_size")
        epochs = steps * size / facts.setting("warm_start.num_demonstrations")
        evidence.append(f"{epochs:.2g} passes over the demonstrations")
    if (loss := facts.probed("demonstration_loss_nats")) is not None:
        evidence.append(f"loss on them {loss:.3g} nats")
    if not evidence:
        raise NotMeasurable("needs the probe demonstration_loss_nats; run diagnose with --policy DIR")
    text = ", ".join(evidence)
    if loss is not None and loss < limits.severe_demonstration_loss_nats * scale:
        return fail(text, advice)
    is_suspicious = loss is not None and loss < limits.suspicious_demonstration_loss_nats * scale
    return warn(text, advice) if is_suspicious or epochs > limits.max_warm_start_epochs else ok(text)


@check(
    "train / warm-start overlap",
    measures="training prompts that the warm start has seen",
    priority=Priority.LOW,
    reference="grpo-dual diagnosis 10: above 80 % severe, below 20 % fine",
)
def overlap(facts: Facts) -> Finding:
    if facts.setting("warm_start") is None:
        return ok("no warm start")
    share, limits = facts.probe("demonstration_overlap_fraction"), facts.thresholds
    evidence, advice = (
        f"{share:.0%} of the training prompts",
        "train on prompts that no demonstration answers",
    )
    entropy = facts.probed("start_entropy_nats")
    if share <= limits.overlap_warn_fraction:
        return ok(evidence)
    # Seen prompts leak where answers were learnt by heart; entropy that is left says they were not.
    if entropy is not None and entropy >= limits.low_entropy_nats * facts.vocabulary_scale:
        return warn(f"{evidence}; the start policy still has {entropy:.3g} nats", advice)
    return fail(evidence, advice) if share > limits.overlap_fail_fraction else warn(evidence, advice)

"""The plan for people: a table of one plan, and Markdown of many."""

from rich.console import Console
from rich.table import Table

from entropy_rl.plan.memory import KINDS
from entropy_rl.plan.step import Phase, Plan
from entropy_rl.plan.suggest import Suggestion

GIB = 1 << 30
SAMPLING = ("prefill", "decode")
"""Phases that each generation batch of a step goes through."""


def show(plan: Plan, console: Console, price: float | None = None) -> None:
    """Memory and time of every phase, and what follows for the step and the run."""
    job, mesh = plan.job, plan.job.config.mesh
    console.print(
        f"[bold]{job.config.name}[/bold] on {job.topology.name}: {job.topology.num_chips} chips, mesh data "
        f"{mesh.data} x fsdp {mesh.fsdp} x tensor {mesh.tensor}; rollouts in {job.num_waves} "
        f"{'wave' if job.num_waves == 1 else 'waves'} of {job.prompts_per_wave} prompts",
        soft_wrap=True,
    )
    console.print(_lengths(plan), soft_wrap=True)
    console.print(_memory_table(plan))
    console.print(_time_table(plan))
    for line in summary(plan, price):
        console.print(line, soft_wrap=True)


def show_suggestion(suggestion: Suggestion | None, console: Console) -> None:
    """What to change, where the plan does not fit."""
    if suggestion is None:
        console.print("No setting that fits was found on this topology: take more chips, or larger ones.")
        return
    plan = suggestion.plan
    console.print(
        f"The nearest setting that fits (peak {plan.peak.memory.total / GIB:.1f} GiB in {plan.peak.name}, "
        f"{plan.step_seconds:,.0f} s a step{'' if plan.by_compiler else '; by formula, not compiled'}):",
        soft_wrap=True,
    )
    console.print(f"    {suggestion.overrides}", soft_wrap=True)


def summary(plan: Plan, price: float | None = None) -> list[str]:
    """The lines under the tables."""
    margin = plan.usable_bytes - plan.peak.memory.total
    word = "fits" if plan.fits else "DOES NOT FIT"
    lines = [
        f"{word}: peak {plan.peak.memory.total / GIB:.2f} GiB in {plan.peak.name} of "
        f"{plan.usable_bytes / GIB:.2f} GiB usable, margin {margin / GIB:.2f} GiB"
        + ("" if plan.by_compiler else " (estimated by formula, not compiled)"),
        f"step {plan.step_seconds:,.0f} s at the roofline, {plan.tokens_per_second:,.0f} response tokens/s; "
        f"useful arithmetic {plan.useful_share:.0%} of the peak during updates, "
        f"{plan.useful_share_of_step:.0%} of the whole step",
        f"{plan.chip_hours_per_step:,.1f} chip-hours a step, {plan.chip_hours:,.0f} for "
        f"{plan.job.config.num_steps} steps, without evaluations"
        + ("" if price is None else f": {price * plan.chip_hours:,.0f} at {price:g} a chip-hour"),
    ]
    if plan.job.config.dynamic_sampling is not None:
        rollouts = sum(phase.seconds for phase in plan.phases if phase.name in SAMPLING)
        lines.append(
            f"this is with one batch of {plan.job.config.batch.prompts_per_step} prompts sampled a step; "
            "dynamic sampling takes 1 / (share of groups kept) of them in the mean, each "
            f"{rollouts:,.0f} s: where 60% are kept, a step takes "
            f"{plan.step_seconds + (1 / 0.6 - 1) * rollouts:,.0f} s"
        )
    if plan.fits and plan.chosen_wave is not None:
        lines.append(f"waves as planned need: --batch.prompts-per-wave {plan.chosen_wave}")
    if host := max(phase.memory.host_bytes for phase in plan.phases):
        lines.append(f"offloading takes {host / GIB:.2f} GiB of the host's memory for each chip, not checked")
    return lines + [f"{phase.name}: {phase.note}" for phase in plan.phases if phase.note]


def recipe_table(plans: list[Plan], price: float | None = None) -> str:
    """One line of Markdown a plan; runs are counted without their evaluations."""
    lines = [
        "| recipe | topology | mesh | wave | peak GiB (phase) | usable | rollout s | log-probs s "
        "| update s | step s | tokens/s | useful (update) | chip-hours a step | of the run |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    if price is not None:
        lines = [f"{lines[0]} price at {price:g} |", f"{lines[1]}---|"]
    for plan in plans:
        mesh, seconds = plan.job.config.mesh, {phase.name: phase.seconds for phase in plan.phases}
        rollout = sum(seconds.get(name, 0.0) for name in ("reshard", "prefill", "decode"))
        known = seconds["old_logp"] + seconds.get("ref_logp", 0.0)
        mark = ("" if plan.by_compiler else " (estimated)") + ("" if plan.fits else " **does not fit**")
        lines.append(
            f"| {plan.job.config.name} | {plan.job.topology.name} "
            f"| {mesh.data} x {mesh.fsdp} x {mesh.tensor} | {plan.job.prompts_per_wave} "
            f"| {plan.peak.memory.total / GIB:.1f} ({plan.peak.name}){mark} "
            f"| {plan.usable_bytes / GIB:.1f} | {rollout:,.0f} | {known:,.0f} "
            f"| {seconds['update']:,.0f} | {plan.step_seconds:,.0f} | {plan.tokens_per_second:,.0f} "
            f"| {plan.useful_share:.0%} | {plan.chip_hours_per_step:,.1f} | {plan.chip_hours:,.0f} |"
            + ("" if price is None else f" {price * plan.chip_hours:,.0f} |")
        )
    return "\n".join(lines)


def _lengths(plan: Plan) -> str:
    prompts, responses = plan.job.prompts, plan.job.responses
    return (
        f"Log-normal lengths (sigma {responses.sigma:g}): prompts of {prompts.mean:,.0f} tokens in the mean, "
        f"at most {prompts.longest:,}; responses of {responses.mean:,.0f}, at most {responses.longest:,}. A "
        f"wave's longest response has {plan.job.decode_steps + 1:,.0f}; of the slots of updates "
        f"{plan.job.padding_fraction:.1%} are padding."
    )


def _memory_table(plan: Plan) -> Table:
    table = Table(title="Memory of a chip, GiB")
    table.add_column("phase")
    for kind in KINDS:
        table.add_column(kind.replace("_", " "), justify="right")
    for name in ("total", "margin", "by"):
        table.add_column(name, justify="right")
    for phase in plan.phases:
        total = phase.memory.total
        row = [f"{phase.memory.kinds[kind] / GIB:.2f}" if phase.memory.kinds[kind] else "" for kind in KINDS]
        source = "compiler" if phase.memory.by_compiler else "formula"
        table.add_row(
            phase.name, *row, f"{total / GIB:.2f}", f"{(plan.usable_bytes - total) / GIB:.2f}", source
        )
    return table


def _time_table(plan: Plan) -> Table:
    table = Table(title="Work of a chip, one execution; roofline time")
    for name in (
        "phase",
        "executions",
        "TFLOP",
        "HBM GB",
        "sent GB",
        "compute",
        "memory",
        "network",
        "bound by",
    ):
        table.add_column(name, justify="left" if name in ("phase", "bound by") else "right")
    table.add_column("s a step", justify="right")
    for phase in plan.phases:
        table.add_row(*_time_row(phase))
    return table


def _time_row(phase: Phase) -> tuple[str, ...]:
    source = "" if phase.collectives is not None else " (formula)"
    return (
        phase.name,
        f"{phase.executions:,.0f}",
        f"{phase.work.flops / 1e12:,.3g}",
        f"{phase.work.hbm_bytes / 1e9:,.3g}",
        f"{phase.sent_bytes / 1e9:,.3g}{source}",
        *(_seconds(getattr(phase.times, name)) for name in ("compute", "memory", "network")),
        phase.times.bound,
        f"{phase.seconds:,.1f}",
    )


def _seconds(value: float) -> str:
    return f"{value:,.2f} s" if value >= 1 else f"{1e3 * value:,.2f} ms"

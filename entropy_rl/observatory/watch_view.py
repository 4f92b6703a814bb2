"""One look at a run in a terminal: how far it is, and where its numbers stand. Pure: rows in, a table out."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from entropy_rl.observability.progress import duration_text, sparkline
from entropy_rl.observability.run_record import RunRecord
from entropy_rl.observatory.verdicts import Outcome, Verdict

NARROW, WIDE = 60, 100
"""Columns of a terminal: below the first there is no course, from the second on there are companions."""

STEPS_OF_RATE = 21
"""Whose median is the time of a step; the first one compiles."""

STYLES = {Outcome.FAIL: "bold red", Outcome.WARN: "bold yellow"}


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A line of the view: a metric, and what is said beside it."""

    title: str
    metric: str
    beside: tuple[tuple[str, str], ...] = ()
    """What to call other metrics of the same row, and their names."""


LINES = (
    Shown(
        title="entropy",
        metric="policy/entropy",
        beside=(("10 %", "entropy/q10"), ("median", "entropy/q50"), ("90 %", "entropy/q90")),
    ),
    Shown(title="top 20 %", metric="entropy/top_20_percent", beside=(("largest", "entropy/max"),)),
    Shown(title="reward", metric="reward/mean", beside=(("pass rate", "reward/pass_rate"),)),
    Shown(title="held out", metric="heldout/accuracy"),
    Shown(title="suite", metric="validation/mean"),
    Shown(
        title="covariance",
        metric="covariance/mean",
        beside=(("99.9 %", "covariance/q999"), ("top 0.2 %", "covariance/top_0.2_percent")),
    ),
    Shown(
        title="selected",
        metric="selection/selected",
        beside=(("quota", "selection/quota"), ("of advantage < 0", "selection/selected_negative_advantage")),
    ),
    Shown(
        title="length",
        metric="length/mean",
        beside=(("max", "length/max"), ("truncated", "length/truncated_fraction")),
    ),
    Shown(
        title="likeliest",
        metric="logits/max_probability",
        beside=(("gap", "logits/gap"), ("stops suppressed", "sampler/stop_suppressed_fraction")),
    ),
    Shown(
        title="equal rewards",
        metric="reward/groups_zero_variance",
        beside=(("by chance", "reward/groups_zero_variance_expected"),),
    ),
    Shown(title="guard", metric="guard/entropy_coef", beside=(("collapsed steps", "guard/collapsed_steps"),)),
    Shown(title="KL of a step", metric="policy/approx_kl_k3"),
    Shown(
        title="gradient",
        metric="optimizer/grad_norm",
        beside=(("skipped updates", "optimizer/skipped_updates"),),
    ),
)


def view(
    run: RunRecord,
    *,
    width: int,
    ended: bool,
    seconds_since_row: float,
    verdicts: Sequence[Verdict] = (),
    drawable: bool = True,
) -> RenderableType:
    """What is to be seen of a run.

    Args:
        run: as far as it has come.
        width: columns of the terminal.
        ended: whether its summary is there.
        seconds_since_row: how long ago its newest row was written.
        verdicts: of the diagnosis of the run so far.
        drawable: whether the terminal has block characters.
    """
    if not run.rows:
        state = "it ended without a step" if ended else "no step has ended yet; the first one compiles"
        return Group(_line(run.name, "bold"), _line(state, "yellow"))
    parts: list[RenderableType] = [_head(run, ended, width)]
    seconds = seconds_per_step(run)
    if not ended and seconds_since_row > max(60.0, 5 * seconds):
        parts.append(
            _line(f"no step has ended for {duration_text(seconds_since_row)}: stopped, or busy", "yellow")
        )
    return Group(*parts, _numbers(run, width, drawable), *_illnesses(verdicts))


def seconds_per_step(run: RunRecord) -> float:
    """Median over the last steps; 0 where the rows do not say."""
    known = [row["seconds/step"] for row in run.rows if row.get("seconds/step") is not None]
    return statistics.median(known[-STEPS_OF_RATE:]) if known else 0.0


def _line(text: str, style: str) -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _head(run: RunRecord, ended: bool, width: int) -> RenderableType:
    done, wanted, seconds = run.rows[-1]["step"], run.config.get("num_steps"), seconds_per_step(run)
    of_all = f"step {done}/{wanted}" if wanted else f"step {done}"
    if ended:
        rate = f"{duration_text(_total_seconds(run))} of steps, ended"
    else:
        left = f", {duration_text(seconds * max(wanted - done, 0))} left" if wanted else ""
        rate = f"{seconds:.3g} s/step{left}"
    words = Text.assemble((run.name, "bold"), f"  {of_all}  {rate}", no_wrap=True, overflow="ellipsis")
    if not wanted:
        return words
    bar = Table.grid()  # ends the bar's line, which the bar itself does not
    bar.add_row(ProgressBar(total=wanted, completed=done, width=min(width, 78)))
    return Group(words, bar)


def _total_seconds(run: RunRecord) -> float:
    return math.fsum(row["seconds/step"] for row in run.rows if row.get("seconds/step") is not None)


def _numbers(run: RunRecord, width: int, drawable: bool) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="dim")
    table.add_column("", style="cyan", no_wrap=True)
    table.add_column("first", justify="right", style="dim", no_wrap=True)
    table.add_column("now", justify="right", style="bold", no_wrap=True)
    has_course = drawable and width >= NARROW
    if has_course:
        table.add_column("course", no_wrap=True)
    if width >= WIDE:
        table.add_column("", style="dim", no_wrap=True, overflow="ellipsis")
    for line in LINES:
        having = [row for row in run.rows if row.get(line.metric) is not None]
        if not having:
            continue
        values = [row[line.metric] for row in having]
        cells = [line.title, _number(values[0]), _number(values[-1])]
        if has_course:
            cells.append(sparkline(values, 32 if width >= WIDE else 24))
        if width >= WIDE:
            cells.append(_beside(line, having[-1], is_old=having[-1] is not run.rows[-1]))
        table.add_row(*cells)
    return table


def _illnesses(verdicts: Sequence[Verdict]) -> list[RenderableType]:
    """A line for each check that is not content, the worst first; one line where all are."""
    ill = [verdict for verdict in verdicts if verdict.outcome in STYLES]
    if verdicts and not ill:
        return [_line("nothing is wrong, as far as it could be measured", "green")]
    return [
        Text.assemble(
            (f"{verdict.outcome.value:4s} ", STYLES[verdict.outcome]),
            (f"{verdict.check}: ", "bold"),
            verdict.evidence,
            no_wrap=True,
            overflow="ellipsis",
        )
        for verdict in ill
    ]


def _beside(line: Shown, row: dict, *, is_old: bool) -> str:
    words = [f"{title} {_number(row[name])}" for title, name in line.beside if row.get(name) is not None]
    if line.metric == "heldout/accuracy":
        words = [f"{name.removeprefix('heldout/')} {_number(row[name])}" for name in _pass_names(row)]
    return ", ".join([*words, *([f"at step {row['step']}"] if is_old else [])])


def _pass_names(row: dict) -> list[str]:
    """The held-out pass@k of the largest k."""
    names = [name for name in row if name.startswith("heldout/pass@") and row[name] is not None]
    return sorted(names, key=lambda name: int(name.partition("@")[2]))[-1:]


def _number(value: float | int) -> str:
    return f"{value:.3g}"

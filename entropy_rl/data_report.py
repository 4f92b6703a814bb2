"""What a table of prompts holds, for people: counts, lengths, kinds of answers, and some prompts."""

from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from entropy_rl.data.inspection import Inspection
from entropy_rl.data.prompts import Prompt
from entropy_rl.data.tokenizers import Tokenizer

_NUM_BINS = 12
_BAR_WIDTH = 40
_NUM_SOURCES = 12
_NUM_REASONS = 3
_MAX_ANSWER_CHARACTERS = 60


def show_inspection(
    inspection: Inspection,
    console: Console,
    *,
    tokenizer: Tokenizer | None = None,
    max_prompt_tokens: int | None = None,
    num_shown: int = 3,
) -> None:
    """Prints everything; prompts are rendered by the tokenizer's chat template where there is one."""
    console.print(Text(f"{inspection.table.name}\nread as {inspection.table.schema}"), soft_wrap=True)
    console.print("", _counts(inspection, max_prompt_tokens))
    for line in inspection.report.malformed[:_NUM_REASONS]:
        console.print(Text(f"malformed: {line}"), soft_wrap=True)
    prompts = inspection.report.prompts
    if not prompts:
        return
    for table in (_lengths(inspection), _data_sources(inspection), _answers(inspection)):
        console.print("", table)
    console.print("")
    for n in np.linspace(0, len(prompts) - 1, min(num_shown, len(prompts))).astype(int):
        console.print(_prompt(prompts[n], f"{inspection.lengths_N[n]} {inspection.unit}", tokenizer))


def _counts(inspection: Inspection, max_prompt_tokens: int | None) -> Table:
    report = inspection.report
    rows = {
        "rows": inspection.num_rows,
        "malformed, left out": len(report.malformed),
        "duplicates of a prompt, left out": report.num_duplicates,
        "... of these with another answer": report.num_contradictions,
        "usable prompts": len(report.prompts),
    }
    if max_prompt_tokens is not None:
        num_too_long = int((inspection.lengths_N > max_prompt_tokens).sum())
        rows[f"longer than {max_prompt_tokens} tokens, left out"] = num_too_long
        rows["prompts that train"] = len(report.prompts) - num_too_long
    return _table(("", "count"), [(name, f"{num:,}") for name, num in rows.items()])


def _lengths(inspection: Inspection) -> Table:
    lengths_N = inspection.lengths_N
    marks = {
        "shortest": lengths_N.min(),
        "median": np.median(lengths_N),
        "mean": lengths_N.mean(),
        "90 %": np.percentile(lengths_N, 90),
        "99 %": np.percentile(lengths_N, 99),
        "longest": lengths_N.max(),
    }
    bins = inspection.histogram(_NUM_BINS)
    most = max(num for _, _, num in bins)
    rows = [(name, f"{value:,.0f}", "") for name, value in marks.items()]
    rows += [(f"{low:,}-{high:,}", f"{num:,}", "█" * -(-_BAR_WIDTH * num // most)) for low, high, num in bins]
    return _table((f"length in {inspection.unit}", "", "prompts of this length"), rows)


def _data_sources(inspection: Inspection) -> Table:
    counts = inspection.data_sources.most_common()
    rows = [(name, f"{num:,}") for name, num in counts[:_NUM_SOURCES]]
    if len(counts) > _NUM_SOURCES:
        rest = counts[_NUM_SOURCES:]
        rows.append((f"{len(rest)} others", f"{sum(num for _, num in rest):,}"))
    return _table(("data source", "prompts"), rows)


def _answers(inspection: Inspection) -> Table:
    rows = [
        (kind, f"{num:,}", _shortened(example)) for kind, (num, example) in inspection.answer_kinds.items()
    ]
    return _table(("kind of answer", "prompts", "the first of them"), rows)


def _prompt(prompt: Prompt, length: str, tokenizer: Tokenizer | None) -> Panel:
    rendered = prompt.content
    if not isinstance(rendered, str):
        rendered = prompt.text if tokenizer is None else tokenizer.render_chat(rendered)
    return Panel(
        Text(rendered),
        title=Text(f"{prompt.origin}, {length}"),
        subtitle=Text(f"answer: {_shortened(prompt.answer)}"),
        title_align="left",
        subtitle_align="left",
    )


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """The second column has numbers. Cells are plain text: brackets of LaTeX are no markup."""
    table = Table(show_edge=False, box=None, header_style="bold", pad_edge=False)
    for position, name in enumerate(names):
        table.add_column(name, justify="right" if position == 1 else "left")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MAX_ANSWER_CHARACTERS else line[: _MAX_ANSWER_CHARACTERS - 3] + "..."

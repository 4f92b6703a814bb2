"""Puts the page together: one text, whose style and scripts are in it and named by their hashes."""

import base64
import hashlib
import json
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from entropy_rl.observability.json_files import write_atomically
from entropy_rl.observability.run_record import RunRecord
from entropy_rl.observatory.diagnosis import diagnose
from entropy_rl.observatory.page.curves import Columns, chart_data, names_of
from entropy_rl.observatory.page.facts import facts, tiles
from entropy_rl.observatory.page.findings import grouped, law_view, theory_view
from entropy_rl.observatory.page.rollouts import harmless, rollouts_data
from entropy_rl.observatory.page.sections import SECTIONS
from entropy_rl.observatory.probes import Probes

FOLDER = Path(__file__).parent
SCRIPTS = ("base.js", "axes.js", "curves.js", "rollouts.js")
"""In the order in which they run."""

MAX_TOKENS = 60_000
"""Of all responses in the page together; about 30 bytes each."""


def write_page(
    run: RunRecord, output: Path, *, max_tokens: int = MAX_TOKENS, probes: Probes | None = None
) -> Path:
    """Writes the report of a run to the file `output`, whole or not at all.

    Args:
        run: as its folder tells it, finished or not.
        output: the HTML file.
        max_tokens: of recorded responses that the page holds; of more, steps are left out evenly.
        probes: what a look at the run's policy told; without it some checks are not measurable.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(output, page_of(run, max_tokens=max_tokens, probes=probes).encode())
    return output


def page_of(run: RunRecord, *, max_tokens: int = MAX_TOKENS, probes: Probes | None = None) -> str:
    """The page as text."""
    columns, names = Columns(), names_of(run)
    law, no_law = None, ""
    try:
        law = law_view(run, columns)
    except ValueError as reason:  # the run is too short, or its entropy does not move
        no_law = str(reason)
    charts = {
        chart.key: data
        for section in SECTIONS
        for chart in section.charts
        if (data := chart_data(chart, run, names, columns))
    }
    theory = theory_view(run)
    rollouts = rollouts_data(run.path, max_tokens)
    steps = [row["step"] for row in run.rows]
    data = {
        "span": [steps[0], steps[-1]] if steps else [0, 1],
        "columns": columns.columns,
        "charts": charts | (law.charts if law else {}) | (theory.charts if theory else {}),
        "rollouts": rollouts,
    }
    style, script = (
        (FOLDER / "style.css").read_text(),
        "\n".join((FOLDER / name).read_text() for name in SCRIPTS),
    )
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: harmless(value) if type(value) is str else value,
    )
    return environment.get_template("page.html").render(
        policy=content_policy(style, script),
        style=style,
        script=script,
        data=inert_json(data),
        name=run.name,
        tiles=tiles(run),
        facts=facts(run),
        config=json.dumps(run.config, indent=2) if run.config else "",
        sections=SECTIONS,
        drawn=set(charts),
        notes={chart.key: chart.note for section in SECTIONS for chart in section.charts},
        has_rollouts=rollouts is not None,
        selects=rollouts is not None and rollouts["selects"],
        left_out=_left_out(rollouts),
        groups=grouped(diagnose(run, probes=probes)),
        law=law,
        no_law=no_law,
        theory=theory,
    )


def content_policy(style: str, script: str) -> str:
    """What the page may do: run this script and wear this style, and nothing that needs a network."""
    return (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def inert_json(data: object) -> str:
    """JSON for a script element: no text in it can end the element, begin a comment, or end a line."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))  # ASCII: U+2028 is an escape already
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _left_out(rollouts: dict | None) -> str:
    if rollouts is None or rollouts["shownResponses"] == rollouts["recordedResponses"]:
        return ""
    return (
        f"{rollouts['shownResponses']} of {rollouts['recordedResponses']} recorded responses, of "
        f"{len(rollouts['steps'])} of {rollouts['recordedSteps']} recorded steps, to keep the page light; "
        "--max-tokens allows more."
    )

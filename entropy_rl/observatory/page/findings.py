"""What the page says of a run beyond its numbers: the verdicts of the diagnosis, and the law."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from entropy_rl.observability.run_record import RunRecord
from entropy_rl.observatory.diagnosis import Outcome, Verdict
from entropy_rl.observatory.law import Course, Law
from entropy_rl.observatory.page.curves import Columns, short
from entropy_rl.observatory.theory import FEWEST_POINTS, LEMMA1, TheoryCheck

NUM_CURVE_POINTS = 60
MAX_DOTS = 800
"""Of the law's picture; of more points every so many are drawn, and all are fitted."""


@dataclass(frozen=True, kw_only=True)
class Badge:
    """How an outcome looks: a class of style.css, and a sign, so that colour is not needed."""

    key: str
    sign: str


BADGES = {
    Outcome.FAIL: Badge(key="fail", sign="\u2715"),
    Outcome.WARN: Badge(key="warn", sign="!"),
    Outcome.OK: Badge(key="ok", sign="\u2713"),
    Outcome.NOT_MEASURABLE: Badge(key="none", sign="\u2013"),
}
"""The worst first, as they are shown."""


@dataclass(frozen=True, kw_only=True)
class VerdictGroup:
    """The verdicts of one outcome."""

    outcome: Outcome
    verdicts: tuple[Verdict, ...]

    @property
    def badge(self) -> Badge:
        return BADGES[self.outcome]

    @property
    def is_urgent(self) -> bool:
        """Whether they are shown unasked."""
        return self.outcome in (Outcome.FAIL, Outcome.WARN)


def grouped(verdicts: Sequence[Verdict]) -> list[VerdictGroup]:
    """The verdicts by outcome, in their order, without empty groups."""
    counts = Counter(verdict.outcome for verdict in verdicts)
    return [
        VerdictGroup(
            outcome=outcome, verdicts=tuple(verdict for verdict in verdicts if verdict.outcome == outcome)
        )
        for outcome in BADGES
        if counts[outcome]
    ]


@dataclass(frozen=True, kw_only=True)
class LawView:
    """The law as the page shows it."""

    measure: str
    facts: tuple[tuple[str, str], ...]
    doubts: tuple[str, ...]
    charts: dict[str, dict]
    """Its pictures, by key, as the scripts draw them."""


def law_view(run: RunRecord, columns: Columns) -> LawView:
    """The law of a run.

    Raises:
        ValueError: it cannot be fitted; the text says why.
    """
    course = Course.of(run)
    law = Law.of(course)
    explained = "-" if np.isnan(law.explained) else f"{law.explained:.1%} of the variance of R"
    facts = (
        ("R", f"{course.measure}, {len(course)} points, steps {course.steps[0]} to {course.steps[-1]}"),
        ("a", f"{law.a}: what a unit of exp(H) costs"),
        ("b", str(law.b)),
        ("Ceiling", f"{law.ceiling}: R where the entropy is used up"),
        ("Explained", explained),
        ("Intervals", "95 %, by a bootstrap in blocks"),
    )
    charts = {"law": _picture(law), "law-residuals": _residuals(law, columns)}
    return LawView(measure=course.measure, facts=facts, doubts=law.doubts(), charts=charts)


def _picture(law: Law) -> dict:
    course = law.course
    every = -(-len(course) // MAX_DOTS)
    entropy = np.linspace(0.0, float(course.entropy.max()) * 1.02, NUM_CURVE_POINTS)
    low, high = law.band(entropy)
    return {
        "xs": _shortened(course.entropy[::every]),
        "ys": _shortened(course.success[::every]),
        "steps": course.steps[::every].tolist(),
        "xTitle": "entropy, nats",
        "yTitle": course.measure,
        "curve": {
            "xs": _shortened(entropy),
            "ys": _shortened(law.predict(entropy)),
            "lows": _shortened(low),
            "highs": _shortened(high),
        },
        "level": {"value": short(law.ceiling.value), "label": f"ceiling {law.ceiling.value:.3g}"},
    }


def _residuals(law: Law, columns: Columns) -> dict:
    steps = columns.place_of(law.course.steps.tolist())
    values = columns.place_of(_shortened(law.residuals))
    line = {"label": "residual", "metric": "", "colour": "blue", "weight": "bold", "x": steps, "y": values}
    return {"lines": [line], "bands": [], "unit": law.course.measure, "scale": "linear", "fromZero": True}


@dataclass(frozen=True, kw_only=True)
class TheoryView:
    """How far the theory's two sides agree, as the page shows it."""

    note: str
    charts: dict[str, dict]


def theory_view(run: RunRecord) -> TheoryView | None:
    """Measured falls of entropy against Lemma 1's; None where fewer than three steps measured both."""
    check = TheoryCheck.of(run)
    if check.num_points < FEWEST_POINTS:
        return None
    lemma = check.predicted[LEMMA1]
    ends = _shortened(np.array([min(lemma.min(), check.falls.min()), max(lemma.max(), check.falls.max())]))
    picture = {
        "xs": _shortened(lemma),
        "ys": _shortened(check.falls),
        "steps": check.steps.tolist(),
        "xTitle": "fall by Lemma 1, nats",
        "yTitle": "measured fall, nats",
        "curve": {"xs": ends, "ys": ends},
    }
    agreements = {"Lemma 1": check.lemma1, "Theorem 1": check.theorem1, "Theorem 2": check.theorem2}
    told = [
        f"{name} {'unknown' if agreement is None else f'{agreement.correlation:.2f}'}"
        for name, agreement in agreements.items()
    ]
    note = f"Correlation with the measured fall over {check.num_points} steps: {', '.join(told)}."
    return TheoryView(note=note, charts={"theory-dots": picture})


def _shortened(values: np.ndarray) -> list[float | int | None]:
    return [short(float(value)) for value in values]

"""What a chart of the report is made of."""

from dataclasses import dataclass
from typing import Literal

SHADES = ("cov-1", "cov-2", "cov-3", "cov-4", "cov-5")
"""Colours in an order, for metrics in an order."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A metric over steps. Where its name holds @k or NAME, a line for every metric of such a name."""

    metric: str
    label: str
    """In the legend; {} is what stood for k or NAME."""
    colour: str
    """A colour of style.css, by its name there; of several metrics each has one of `SHADES` instead."""
    weight: Literal["bold", "plain", "dashed"]
    """Bold: what the chart is about, drawn as a moving mean over what was measured. Dashed: what it is seen
    against, no chart alone."""


def bold(metric: str, label: str, colour: str) -> Line:
    return Line(metric=metric, label=label, colour=colour, weight="bold")


def plain(metric: str, label: str, colour: str) -> Line:
    return Line(metric=metric, label=label, colour=colour, weight="plain")


def dashed(metric: str, label: str, colour: str) -> Line:
    return Line(metric=metric, label=label, colour=colour, weight="dashed")


@dataclass(frozen=True, kw_only=True)
class Band:
    """What lies between two metrics."""

    low: str
    high: str
    label: str
    colour: str
    opacity: float


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One picture over the steps of a run."""

    key: str
    title: str
    unit: str
    lines: tuple[Line, ...] = ()
    bands: tuple[Band, ...] = ()
    rows: tuple[str, ...] = ()
    """Metrics of a heat map, from the bottom up; then there are neither lines nor bands."""
    scale: Literal["linear", "log", "symlog"] = "linear"
    """symlog: linear near zero, logarithmic beyond."""
    from_zero: bool = False
    note: str = ""
    """How to read it."""
    zero_is_absent: bool = False
    """Whether a run lacks it where all of its values are 0."""
    absent: str = "the run was made by a version that did not record it"
    """Why a run may lack it."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """Charts under a heading."""

    key: str
    title: str
    charts: tuple[Chart, ...]

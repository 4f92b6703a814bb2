"""What checks look at: a run's metrics and settings, and probes of its policy, as rules need them."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from entropy_rl.observability.run_record import RunRecord
from entropy_rl.observatory.probes import Probes
from entropy_rl.observatory.thresholds import Thresholds
from entropy_rl.observatory.verdicts import NotMeasurable

LARGE_VOCABULARY = 128_256
"""Tokens of the vocabulary (Llama 3's) for which the published thresholds on entropy were set."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """The values of one metric over some steps of a run, all finite."""

    name: str
    steps: np.ndarray
    values: np.ndarray

    @property
    def mean(self) -> float:
        return float(self.values.mean())

    @property
    def median(self) -> float:
        return float(np.median(self.values))

    @property
    def standard_error(self) -> float:
        """Of the mean, steps taken as independent; infinite for one step."""
        num = len(self.values)
        return float(self.values.std(ddof=1)) / num**0.5 if num > 1 else np.inf

    @property
    def at(self) -> str:
        """Its steps, in words."""
        first, last = self.steps[0], self.steps[-1]
        return f"step {first}" if first == last else f"steps {first}-{last}"

    def __str__(self) -> str:
        """As evidence names it: the mean, and the steps."""
        return f"{self.name} {self.mean:.3g} ({self.at})"


@dataclass(frozen=True, kw_only=True)
class Slope:
    """A straight line through the later part of a metric."""

    per_step: float
    standard_error: float
    last_value: float
    """Of the line, at the last step."""

    @property
    def is_down(self) -> bool:
        """Whether it falls by more than chance explains; the errors are taken as independent."""
        return self.per_step < -2 * self.standard_error


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A run as checks see it. What is not there raises `NotMeasurable`, which says how to get it."""

    run: RunRecord
    thresholds: Thresholds
    probes: Probes | None = None

    def has(self, metric: str) -> bool:
        """Whether the metric has a finite value at some step."""
        return bool(np.isfinite(self.run.series(metric)[1]).any())

    def whole(self, metric: str) -> Window:
        """All of a metric."""
        steps, values = self.run.series(metric)
        finite = np.isfinite(values)
        if not finite.any():
            raise NotMeasurable(
                f"metrics.jsonl holds no {metric}"
                + ("; it holds no step yet" if not self.run.rows else "; a run of this version records it")
            )
        return Window(name=metric, steps=steps[finite], values=values[finite])

    def recent(self, metric: str) -> Window:
        """Its last steps: `thresholds.window_steps` of them, or a third where there are few."""
        whole = self.whole(metric)
        return _part(whole, slice(-self._window(len(whole.steps)), None))

    def start(self, metric: str) -> Window:
        """Its first steps, as many."""
        whole = self.whole(metric)
        return _part(whole, slice(None, self._window(len(whole.steps))))

    def slope(self, metric: str) -> Slope:
        """The least-squares line through the later half of a metric."""
        whole, least = self.whole(metric), self.thresholds.min_steps_for_trend
        if len(whole.steps) < least:
            raise NotMeasurable(
                f"a trend needs {least} steps with {metric}, there are {len(whole.steps)}; train longer, or "
                "set --thresholds.min-steps-for-trend"
            )
        later = _part(whole, slice(-max(least // 2, len(whole.steps) // 2), None))
        x, y = later.steps - later.steps.mean(), later.values - later.values.mean()
        per_step = float((x * y).sum() / (x * x).sum())
        left = y - per_step * x
        variance = float((left * left).sum()) / max(len(x) - 2, 1)
        return Slope(
            per_step=per_step,
            standard_error=float(np.sqrt(variance / (x * x).sum())),
            last_value=float(later.values.mean() + per_step * x[-1]),
        )

    def setting(self, dotted: str) -> Any:
        """A field of the configuration, such as "sampling.temperature"; what lies under None is None."""
        value = self.run.config
        if not value:
            raise NotMeasurable("the run's folder holds no config.json, which would say what was asked for")
        for part in dotted.split("."):
            if value is None:
                return None
            if part not in value:
                raise NotMeasurable(f"config.json names no {dotted}; a run of this version records it")
            value = value[part]
        return value

    def probe(self, field: str) -> Any:
        """A field of the probes."""
        value = None if self.probes is None else getattr(self.probes, field)
        if value is None:
            how = "run diagnose with --policy DIR" if self.probes is None else "this policy could not tell it"
            raise NotMeasurable(f"needs the probe {field}; {how}")
        return value

    def probed(self, field: str) -> Any | None:
        """The same, None where it was not measured."""
        return None if self.probes is None else getattr(self.probes, field)

    @property
    def vocabulary_scale(self) -> float:
        """Most entropy that the policy's vocabulary allows, as a share of a large one's; 1 if not known.

        Thresholds on entropy were set for large vocabularies; one of 32 tokens has less to lose.
        """
        size = self.vocabulary_size or LARGE_VOCABULARY
        return min(1.0, float(np.log(size) / np.log(LARGE_VOCABULARY)))

    @property
    def vocabulary_size(self) -> int | None:
        """Tokens of the policy's vocabulary: by the settings, or by the description that a run keeps of its
        policy; None if neither tells."""
        architecture = (self.run.config.get("policy") or {}).get("architecture") or {}
        kept = self.run.path / "policy" / "config.json"
        if "vocab_size" not in architecture and kept.is_file():
            architecture = json.loads(kept.read_bytes())
        return architecture.get("vocab_size")

    def _window(self, num: int) -> int:
        return max(1, min(self.thresholds.window_steps, num // 3))


def _part(window: Window, part: slice) -> Window:
    return Window(name=window.name, steps=window.steps[part], values=window.values[part])

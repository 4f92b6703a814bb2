"""The law of entropy and reward, R = -a exp(H) + b, fitted to what a run recorded.

Source: "The Entropy Mechanism of Reinforcement Learning for Reasoning Language Models", arXiv 2505.22617,
Eq. 6. R is a rate of success, H the policy's entropy in nats a token. At H = 0, where no entropy is left to
spend, R has its ceiling b - a. The paper does not say how it fits; here it is a robust line of R over
exp(H) with intervals by `robust_line.bootstrap_lines`.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from entropy_rl.observability.metric_names import ENTROPY, metric_of
from entropy_rl.observability.run_record import RunRecord
from entropy_rl.observatory.doubts import doubts_of
from entropy_rl.observatory.robust_line import Line, bootstrap_lines, huber_line, persistence

HELDOUT, SUITE, TRAINING = "heldout/accuracy", "validation/mean", "reward/mean"
MEASURES = (HELDOUT, SUITE, TRAINING)
"""What R can be, the better first: success on prompts that are not trained on, then the training reward."""
MIN_POINTS = 8
"""Points that a fit must have, and held-out ones that a run must have for R to be held out."""
NUM_RESAMPLES, SEED = 1000, 0
"""Of the bootstrap, unless told otherwise."""
MIN_SPREAD = 1e-6
"""Range of exp(H) below which no line can be told: rounding of single precision."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Course:
    """Entropy and success over a run: points in the order of their steps."""

    steps: Int[np.ndarray, " n"]
    entropy: Float[np.ndarray, " n"]
    """Nats a token, before the updates of the step, as policy/entropy."""
    success: Float[np.ndarray, " n"]
    """R, of the same step."""
    measure: str
    """Which metric R is."""
    filtered: bool
    """Whether groups were filtered by dynamic sampling: entropy is then of those kept, the reward of all."""
    rewards_right_only: bool = False
    """Whether the reward is 1 for a right response and 0 for others: reward/mean is then a share too."""

    @classmethod
    def of(cls, run: RunRecord, *, measure: str | None = None, first: int | None = None) -> "Course":
        """The course of a run, finished or not.

        R is heldout/accuracy, or validation/mean, where at least `MIN_POINTS` steps (of those up to `first`,
        where it is given: what a prediction needs) have it and an entropy; else reward/mean; or what
        `measure` names.

        Raises:
            ValueError: no step has both an entropy and R.
        """
        if measure is None:
            steps = {name: _common(run, name)[0] for name in MEASURES}
            counts = {name: len(at) if first is None else (at <= first).sum() for name, at in steps.items()}
            measure = next((name for name in MEASURES if counts[name] >= MIN_POINTS), TRAINING)
        steps, entropy, success = _common(run, measure)
        if len(steps) == 0:
            raise ValueError(
                f"the law needs steps that have both {ENTROPY} and {measure}, got none of the "
                f"{len(run.rows)} rows in {run.path}; give a run that recorded them, or name another R"
            )
        filtered = bool(run.series("generation/kept_fraction")[0].size)
        return cls(
            steps=steps,
            entropy=entropy,
            success=success,
            measure=measure,
            filtered=filtered,
            rewards_right_only=_rewards_right_only(run),
        )

    def __len__(self) -> int:
        return len(self.steps)

    def between(self, after: int, until: int) -> "Course":
        """The points of steps after `after`, up to and including `until`."""
        chosen = (self.steps > after) & (self.steps <= until)
        names = ("steps", "entropy", "success")
        return replace(self, **{name: getattr(self, name)[chosen] for name in names})

    @property
    def is_share(self) -> bool:
        """Whether R is a share, which nothing lifts above 1."""
        metric = metric_of(self.measure)
        is_fraction = metric is not None and metric.unit == "fraction"
        return is_fraction or (self.measure == TRAINING and self.rewards_right_only)


def _rewards_right_only(run: RunRecord) -> bool:
    """Whether reward and share of right responses are equal, but for rounding, wherever they are recorded."""
    both = [(row.get(TRAINING), row.get("reward/pass_rate")) for row in run.rows]
    both = [pair for pair in both if pair != (None, None)]
    return bool(both) and all(None not in pair and abs(pair[0] - pair[1]) < 1e-6 for pair in both)


def _common(run: RunRecord, measure: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps, entropies and values of the rows that have both, both finite."""
    rows = [
        (row["step"], row[ENTROPY], row[measure])
        for row in run.rows
        if row.get(ENTROPY) is not None and row.get(measure) is not None
    ]
    steps, entropy, success = np.array(rows, dtype=np.float64).reshape(-1, 3).T
    return steps.astype(np.int64), np.ascontiguousarray(entropy), np.ascontiguousarray(success)


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate and its 95 % interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, draws: Float[np.ndarray, " draws"]) -> "Interval":
        """The percentile interval of a bootstrap."""
        low, high = np.percentile(draws, (2.5, 97.5))
        return cls(value=float(value), low=float(low), high=float(high))

    def __format__(self, spec: str) -> str:
        """Each number by the format, such as "+.3f"; four digits unless one is given."""
        value, low, high = (format(x, spec or ".4g") for x in (self.value, self.low, self.high))
        return f"{value} [{low}, {high}]"

    def __str__(self) -> str:
        return f"{self}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Law:
    """R = -a exp(H) + b of a course."""

    course: Course
    line: Line
    """R over exp(H)."""
    draws: Line
    """The same of the bootstrap's resamples."""

    @classmethod
    def of(cls, course: Course, *, num_resamples: int = NUM_RESAMPLES, seed: int = SEED) -> "Law":
        """Fits the law; the same course and seed give the same law.

        Raises:
            ValueError: the course has fewer than `MIN_POINTS` points, or its entropy hardly differs.
        """
        if len(course) < MIN_POINTS:
            raise ValueError(
                f"the law needs at least {MIN_POINTS} steps with both {ENTROPY} and {course.measure}, got "
                f"{len(course)}; let the run go on, or evaluate more often"
            )
        x = np.exp(course.entropy)
        if np.ptp(x) < MIN_SPREAD:
            raise ValueError(
                f"the law needs entropies that differ, got {course.entropy[0]:.6g} nats at all of "
                f"{len(course)} steps; give a run whose entropy moves"
            )
        line = huber_line(x, course.success)
        draws = bootstrap_lines(x, course.success, line, num_resamples=num_resamples, seed=seed)
        return cls(course=course, line=line, draws=draws)

    @property
    def a(self) -> Interval:
        """What a unit of exp(H) costs in R; positive where success is bought with entropy."""
        return Interval.of(-float(self.line.slope), -self.draws.slope)

    @property
    def b(self) -> Interval:
        """The law's other coefficient: R at exp(H) = 0, which no policy reaches."""
        return Interval.of(float(self.line.intercept), self.draws.intercept)

    @property
    def ceiling(self) -> Interval:
        """b - a: R where the entropy is spent."""
        return Interval.of(
            float(self.line.intercept + self.line.slope), self.draws.intercept + self.draws.slope
        )

    @property
    def fitted(self) -> Float[np.ndarray, " n"]:
        """The law's R at the entropies of the course."""
        return self.predict(self.course.entropy)

    @property
    def residuals(self) -> Float[np.ndarray, " n"]:
        """Measured minus fitted R, in the order of steps."""
        return self.course.success - self.fitted

    @property
    def persistence(self) -> float:
        """Correlation of a residual with the one before, see `robust_line.persistence`."""
        return persistence(self.residuals)

    @property
    def explained(self) -> float:
        """Share of the variance of R that the law accounts for; at most 1, below 0 where a mean does better.

        NaN where R never differs.
        """
        around_mean = self.course.success - self.course.success.mean()
        total = float(around_mean @ around_mean)
        return 1 - float(self.residuals @ self.residuals) / total if total > 0 else float("nan")

    def predict(self, entropy: Float[np.ndarray, " points"]) -> Float[np.ndarray, " points"]:
        """R by the law at entropies in nats."""
        return self.line.at(np.exp(entropy))

    def band(
        self, entropy: Float[np.ndarray, " points"]
    ) -> tuple[Float[np.ndarray, " points"], Float[np.ndarray, " points"]]:
        """The 95 % interval of `predict`, of the law itself without a step's noise: low, high."""
        low, high = np.percentile(self.draws.at(np.exp(entropy)), (2.5, 97.5), axis=0)
        return low, high

    def doubts(self) -> tuple[str, ...]:
        """Why not to trust the fit, a sentence each; none where nothing speaks against it."""
        found = doubts_of(
            entropy=self.course.entropy,
            residuals=self.residuals,
            a=(self.a.low, self.a.high),
            explained=self.explained,
            persistence=self.persistence,
        )
        if self.course.is_share and self.ceiling.value > 1:
            found += (f"the ceiling is {self.ceiling.value:.3g}, and no share can exceed 1",)
        if self.course.measure == TRAINING and self.course.filtered:
            found += (
                "R is the training reward of a run with dynamic sampling: the reward is of all groups, the "
                "entropy of those kept; evaluate held-out prompts every few steps",
            )
        return found


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """What the first steps of a run say of the later ones, given the later entropies."""

    law: Law
    """Of the first steps."""
    later: Course
    """The steps that were not fitted."""

    @classmethod
    def of(
        cls, course: Course, first: int, *, num_resamples: int = NUM_RESAMPLES, seed: int = SEED
    ) -> "Prediction":
        """Fits the steps up to `first` and predicts those after.

        Raises:
            ValueError: too few points up to `first`, or none after it.
        """
        fitted, later = course.between(-1, first), course.between(first, int(course.steps.max()))
        if len(fitted) < MIN_POINTS or len(later) == 0:
            raise ValueError(
                f"a prediction needs at least {MIN_POINTS} points of {course.measure} up to step {first} and "
                f"one after it, got {len(fitted)} and {len(later)}, the last at step {course.steps[-1]}; "
                "choose another number of first steps, or an R that more steps have"
            )
        return cls(law=Law.of(fitted, num_resamples=num_resamples, seed=seed), later=later)

    @property
    def predicted(self) -> Float[np.ndarray, " later"]:
        """R by the law at the later entropies."""
        return self.law.predict(self.later.entropy)

    @property
    def errors(self) -> Float[np.ndarray, " later"]:
        """Predicted minus measured R."""
        return self.predicted - self.later.success

    @property
    def rmse(self) -> float:
        """Root mean square error over all later points, in units of R."""
        return float(np.sqrt(np.mean(self.errors**2)))

    @property
    def last_error(self) -> float:
        """Predicted minus measured R at the last step."""
        return float(self.errors[-1])

    @property
    def constant_rmse(self) -> float:
        """The error of saying that R stays at the mean of its last five fitted points: what to beat."""
        return float(np.sqrt(np.mean((self.law.course.success[-5:].mean() - self.later.success) ** 2)))

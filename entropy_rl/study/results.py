"""The statistics of a study: what was chosen, and how far each method is from the baseline of its seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy import stats

from entropy_rl.observatory.law import Course, Interval, Law
from entropy_rl.study.curves import AVERAGE, PASS, Curves
from entropy_rl.study.design import Study

CONFIDENCE = 0.95
RULE = (
    "of a method's settings the one with the highest mean of held-out average@8 and pass@8 after the last "
    "step, over the development seeds; the same rule for every method, the baseline among them"
)
"""Fixed before any run was made. The claim under test is about both figures, and the rule prefers neither; it
does not look at entropy, nor at the baseline, so that no method is chosen to look good beside another."""

Outcome = Literal["holds", "fails", "not decided"]


def t_interval(values_N: Float[np.ndarray, " N"]) -> Interval:
    """Mean of independent values with Student's 95 % interval. Raises ValueError for fewer than two."""
    num = len(values_N)
    if num < 2:
        raise ValueError(f"an interval over seeds needs at least two of them, got {num}; add seeds")
    mean, error = float(np.mean(values_N)), float(np.std(values_N, ddof=1)) / np.sqrt(num)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, num - 1)) * error
    return Interval(value=mean, low=mean - half, high=mean + half)


def choose(study: Study, runs: Sequence[Curves]) -> dict:
    """What `RULE` chooses, and every score it was chosen by."""
    scores: dict[str, dict[str, dict[str, float]]] = {}
    for method in study.methods:
        scores[method.name] = {}
        for setting in method.settings:
            mine = [run for run in runs if (run.method, run.setting) == (method.name, setting.name)]
            average = float(np.mean([run.last(AVERAGE) for run in mine]))
            passed = float(np.mean([run.last(PASS) for run in mine]))
            scores[method.name][setting.name] = {
                "score": (average + passed) / 2,
                "average@8": average,
                "pass@8": passed,
                "plateau_entropy": float(np.mean([run.plateau_entropy for run in mine])),
            }
    chosen = {name: max(mine, key=lambda key: mine[key]["score"]) for name, mine in scores.items()}
    return {"rule": RULE, "chosen": chosen, "scores": scores}


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A method over its seeds, and beside the baseline of the same seeds. Intervals are `t_interval`s."""

    setting: str
    entropy: Interval
    """Plateau entropy, nats."""
    average: Interval
    passed: Interval
    entropy_ratio: Interval | None
    """Plateau entropy over the baseline's: geometric mean over pairs, with the logarithm's interval. None of
    the baseline itself."""
    average_difference: Interval | None
    pass_difference: Interval | None


def standings(runs: Sequence[Curves], baseline: str) -> dict[str, Standing]:
    """The standing of each method and control beside one of them.

    Raises ValueError where one lacks a seed of the baseline's.
    """
    by_seed: dict[str, dict[int, Curves]] = {}
    for run in runs:
        by_seed.setdefault(run.method, {})[run.seed] = run
    seeds = sorted(by_seed[baseline])
    for name, mine in by_seed.items():
        if sorted(mine) != seeds:
            raise ValueError(
                f"{name} must have the seeds of {baseline}, {seeds}, got {sorted(mine)}; make the rest"
            )
    base = Figures.of([by_seed[baseline][seed] for seed in seeds])
    found = {}
    for name, mine in by_seed.items():
        own, is_base = Figures.of([mine[seed] for seed in seeds]), name == baseline
        log_ratio = None if is_base else t_interval(np.log(own.entropy_N / base.entropy_N))
        found[name] = Standing(
            setting=mine[seeds[0]].setting,
            entropy=t_interval(own.entropy_N),
            average=t_interval(own.average_N),
            passed=t_interval(own.pass_N),
            entropy_ratio=log_ratio and _exponential(log_ratio),
            average_difference=None if is_base else t_interval(own.average_N - base.average_N),
            pass_difference=None if is_base else t_interval(own.pass_N - base.pass_N),
        )
    return found


@dataclass(frozen=True, kw_only=True, eq=False)
class Figures:
    """What is compared of N runs."""

    entropy_N: Float[np.ndarray, " N"]
    average_N: Float[np.ndarray, " N"]
    pass_N: Float[np.ndarray, " N"]

    @classmethod
    def of(cls, runs: Sequence[Curves]) -> "Figures":
        return cls(
            entropy_N=np.array([run.plateau_entropy for run in runs]),
            average_N=np.array([run.last(AVERAGE) for run in runs]),
            pass_N=np.array([run.last(PASS) for run in runs]),
        )


def _exponential(interval: Interval) -> Interval:
    low, value, high = (float(np.exp(x)) for x in (interval.low, interval.value, interval.high))
    return Interval(value=value, low=low, high=high)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A part of the claim, and what the final runs say of it."""

    claim: str
    outcome: Outcome
    evidence: str


def all_findings(study: Study, runs: Sequence[Curves]) -> list[Finding]:
    """The claim beside the baseline, and beside each control that was measured."""
    measured = {run.method for run in runs}
    beside = [study.baseline, *(label for label in study.labels[len(study.methods) :] if label in measured)]
    return [one for base in beside for one in findings(study, standings(runs, base)[study.claimant], base)]


def findings(study: Study, mine: Standing, base: str) -> list[Finding]:
    """The three parts of the paper's claim, each held against its interval over the paired seeds."""
    ratio, passed, average = mine.entropy_ratio, mine.pass_difference, mine.average_difference
    wanted, margin = study.claimed_entropy_ratio, study.margin
    outcomes: tuple[tuple[str, bool, bool, str], ...] = (
        (
            f"{study.claimant} holds at least {wanted:g} times {base}'s plateau entropy",
            ratio.low >= wanted,
            ratio.high < wanted,
            f"{ratio.value:.2f} times [{ratio.low:.2f}, {ratio.high:.2f}]",
        ),
        (
            f"it ends with higher held-out pass@8 than {base}",
            passed.low > 0,
            passed.high < 0,
            f"difference {passed:+.3f}",
        ),
        (
            f"and with no lower average@8 (by more than {margin:g}) than {base}",
            average.low >= -margin,
            average.high < -margin,
            f"difference {average:+.3f}",
        ),
    )
    return [
        Finding(
            claim=claim, outcome="holds" if holds else "fails" if fails else "not decided", evidence=evidence
        )
        for claim, holds, fails, evidence in outcomes
    ]


@dataclass(frozen=True, kw_only=True)
class LawOverSeeds:
    """R = -a exp(H) + b fitted to each run of a method by itself; intervals are over the runs."""

    a: Interval
    b: Interval
    ceiling: Interval
    explained: float
    """Median over the runs of the share of R's variance that the law accounts for."""
    num_doubted: int
    """Runs whose fit should not be trusted, by the law's own doubts."""
    num_runs: int


def law_over_seeds(runs: Sequence[Curves]) -> LawOverSeeds:
    """The law of a method's runs, R being held-out average@8. Raises ValueError where one is too short."""
    laws = [Law.of(Course.of(run.record(), measure=AVERAGE)) for run in runs]
    slope_N = np.array([law.a.value for law in laws])
    intercept_N = np.array([law.b.value for law in laws])
    return LawOverSeeds(
        a=t_interval(slope_N),
        b=t_interval(intercept_N),
        ceiling=t_interval(intercept_N - slope_N),
        explained=float(np.median([law.explained for law in laws])),
        num_doubted=sum(bool(law.doubts()) for law in laws),
        num_runs=len(laws),
    )

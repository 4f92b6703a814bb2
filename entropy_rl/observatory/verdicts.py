"""The form of a diagnosis: what a check is, and what it says of a run."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from entropy_rl.observatory.facts import Facts


class Outcome(Enum):
    """What a check came to."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    NOT_MEASURABLE = "not measurable"


class Priority(Enum):
    """What to repair first; the order is that of the published list of diagnoses."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a check found."""

    outcome: Outcome
    evidence: str
    """Numbers, and the steps they are of; of what is not measurable, why, and how it can be measured."""
    advice: str = ""
    """What to change; empty where nothing need change."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A finding, with the check it comes from."""

    check: str
    """The name of the check."""
    measures: str
    """What it looks at, in a line."""
    outcome: Outcome
    evidence: str
    """Numbers, and the steps they are of; of what is not measurable, why, and how it can be measured."""
    advice: str
    """What to change; empty where nothing need change."""
    priority: Priority
    reference: str
    """Where the rule comes from."""


class NotMeasurable(Exception):
    """Raised by a check that lacks what it looks at; its text says what, and how to get it."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """A rule that looks at the facts of a run."""

    name: str
    measures: str
    priority: Priority
    reference: str
    judge: "Callable[[Facts], Finding]"

    def __call__(self, facts: "Facts") -> Verdict:
        try:
            finding = self.judge(facts)
        except NotMeasurable as missing:
            finding = Finding(outcome=Outcome.NOT_MEASURABLE, evidence=str(missing))
        return Verdict(
            check=self.name,
            measures=self.measures,
            outcome=finding.outcome,
            evidence=finding.evidence,
            advice=finding.advice,
            priority=self.priority,
            reference=self.reference,
        )


def check(
    name: str, *, measures: str, priority: Priority, reference: str
) -> "Callable[[Callable[[Facts], Finding]], Check]":
    """Makes a check of a function of facts; it must be named in `checks.CHECKS` to be run."""

    def made(judge):
        return Check(name=name, measures=measures, priority=priority, reference=reference, judge=judge)

    return made


def ok(evidence: str) -> Finding:
    return Finding(outcome=Outcome.OK, evidence=evidence)


def warn(evidence: str, advice: str) -> Finding:
    return Finding(outcome=Outcome.WARN, evidence=evidence, advice=advice)


def fail(evidence: str, advice: str) -> Finding:
    return Finding(outcome=Outcome.FAIL, evidence=evidence, advice=advice)


def by_level(value: float, *, warn_over: float, fail_over: float, evidence: str, advice: str) -> Finding:
    """The finding on a number that should be small."""
    if value > fail_over:
        return fail(evidence, advice)
    return warn(evidence, advice) if value > warn_over else ok(evidence)

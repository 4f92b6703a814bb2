"""The diagnosis of a run: every check's verdict, the most urgent first."""

from collections.abc import Iterable

from entropy_rl.observability.run_record import RunRecord
from entropy_rl.observatory.checks import CHECKS
from entropy_rl.observatory.facts import Facts
from entropy_rl.observatory.probes import Probes
from entropy_rl.observatory.thresholds import DEFAULTS, Thresholds
from entropy_rl.observatory.verdicts import Outcome, Priority, Verdict

__all__ = ["Outcome", "Priority", "Thresholds", "Verdict", "diagnose", "severity"]

SEVERITY = (Outcome.FAIL, Outcome.WARN, Outcome.OK, Outcome.NOT_MEASURABLE)
"""The worst first; what is not measurable comes after what is known to be well."""


def diagnose(
    run: RunRecord, *, thresholds: Thresholds = DEFAULTS, probes: Probes | None = None
) -> tuple[Verdict, ...]:
    """The verdict of every check on a run, finished or not, sorted by severity and then by priority.

    `probes` are of the run's policy; without them some checks are not measurable, and say so.
    """
    facts = Facts(run=run, thresholds=thresholds, probes=probes)
    verdicts = [check(facts) for check in CHECKS]
    by_priority = list(Priority)
    return tuple(sorted(verdicts, key=lambda v: (SEVERITY.index(v.outcome), by_priority.index(v.priority))))


def severity(verdicts: Iterable[Verdict]) -> Outcome:
    """The worst outcome of them; not measurable only where nothing was measured."""
    return min((verdict.outcome for verdict in verdicts), key=SEVERITY.index, default=Outcome.NOT_MEASURABLE)

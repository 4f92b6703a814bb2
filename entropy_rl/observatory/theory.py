"""How well the paper's theory tells, over a run, how its entropy moved (arXiv 2505.22617, section 3.3).

A run records, every so many steps, the change of entropy by the step's updates and what predicts it. Over
these steps -(change of entropy) is fitted by a straight line of each prediction.
"""

from dataclasses import dataclass

import numpy as np

from entropy_rl.observability.run_record import RunRecord

CHANGE = "theory/entropy_change"
LEMMA1 = "theory/lemma1"
THEOREM1 = "theory/theorem1_covariance"
THEOREM2 = "theory/theorem2_covariance"
FEWEST_POINTS = 3
"""Two points lie on a line whatever they are."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """A prediction of -(change of entropy) beside the measured one, over steps."""

    slope: float
    """Of the least-squares line of the measured over the predicted: 1 where Lemma 1 holds to first order; the
    step size, as far as there is one, for a theorem's covariance."""
    correlation: float
    """Pearson's."""


@dataclass(frozen=True, kw_only=True)
class TheoryCheck:
    """What predicts the entropy of a run, and how well; each None of fewer than three steps, or where one of
    the two never changes."""

    steps: np.ndarray
    """The steps that recorded both sides."""
    falls: np.ndarray
    """-(change of entropy) by the updates of each, nats."""
    predicted: dict[str, np.ndarray]
    """Under LEMMA1 the fall that it predicts, nats; under THEOREM1 and THEOREM2 their covariances."""
    lemma1: Agreement | None
    theorem1: Agreement | None
    theorem2: Agreement | None

    @property
    def num_points(self) -> int:
        """Steps that recorded both sides."""
        return len(self.steps)

    @classmethod
    def of(cls, run: RunRecord) -> "TheoryCheck":
        """Over the steps of a run that have finite values of all; there may be none."""
        names = (CHANGE, LEMMA1, THEOREM1, THEOREM2)
        rows = [row for row in run.rows if all(row.get(name) is not None for name in names)]
        columns = {name: np.array([row[name] for row in rows], np.float64) for name in names}
        falls, predicted = -columns[CHANGE], {LEMMA1: -columns[LEMMA1]}
        predicted |= {name: columns[name] for name in (THEOREM1, THEOREM2)}
        return cls(
            steps=np.array([row["step"] for row in rows], np.int64),
            falls=falls,
            predicted=predicted,
            lemma1=agreement(predicted[LEMMA1], falls),
            theorem1=agreement(predicted[THEOREM1], falls),
            theorem2=agreement(predicted[THEOREM2], falls),
        )


def agreement(predicted: np.ndarray, measured: np.ndarray) -> Agreement | None:
    """Of two series of equal length; None of fewer than three points, or where one of them is constant."""
    if len(predicted) < FEWEST_POINTS:
        return None
    x, y = predicted - predicted.mean(), measured - measured.mean()
    xx, yy, xy = x @ x, y @ y, x @ y
    if not (xx > 0 and yy > 0):
        return None
    return Agreement(slope=float(xy / xx), correlation=float(xy / np.sqrt(xx * yy)))

"""Bootstrap intervals: what a mean over problems could as well have been with others of the same kind.

Problems are drawn anew with replacement, each with all of its samples, and the interval is that of the middle
95 % of the means (percentile method). So it holds the chance of sampling too, since that moves the problems
apart. It knows nothing of answers it has not seen: where every problem has the same value its width is 0.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

NUM_RESAMPLES = 2000
COVERAGE = 0.95


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over problems with its interval."""

    mean: float
    low: float
    high: float


def resampled_means(values_PM: Float64[np.ndarray, "P M"], seed: str) -> Float64[np.ndarray, "R M"]:
    """R times the means of M measures over as many problems, drawn anew; the same for equal seeds."""
    rng = np.random.default_rng(list(hashlib.sha256(seed.encode()).digest()))
    num_problems = len(values_PM)
    drawn_RP = rng.integers(num_problems, size=(NUM_RESAMPLES, num_problems))
    row_R1 = num_problems * np.arange(NUM_RESAMPLES)[:, None]
    times_RP = np.bincount((row_R1 + drawn_RP).ravel(), minlength=drawn_RP.size).reshape(drawn_RP.shape)
    return times_RP @ values_PM / num_problems


def estimate(mean: float, resampled_R: Float64[np.ndarray, " R"]) -> Estimate:
    """The mean with the interval of its resampled likes."""
    tail = 100 * (1 - COVERAGE) / 2
    low, high = np.percentile(resampled_R, [tail, 100 - tail])
    return Estimate(mean=mean, low=float(low), high=float(high))

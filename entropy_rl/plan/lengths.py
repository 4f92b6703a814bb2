"""How long prompts and responses are, as a stated distribution: what a step costs depends on it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import ndtr


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """Log-normal lengths in tokens, cut at the longest allowed, with the given mean after the cut.

    A sampler cuts in the same way: what would have been longer ends at `longest`, which so has a
    probability of its own.
    """

    mean: float
    longest: int
    sigma: float = 1.0
    """Standard deviation of the logarithm before the cut: 0 makes all alike; at 1, with mean 1,000 and
    longest 8,192, one response in 206 is cut."""

    def __post_init__(self):
        if not (self.longest >= 1 and 1 <= self.mean <= self.longest and self.sigma >= 0):
            raise ValueError(
                f"a mean length must lie between 1 and the longest, and sigma be at least 0; got {self}"
            )

    @classmethod
    def at_most(cls, longest: int, mean: float, sigma: float) -> "Lengths":
        """Of that mean, or half the longest allowed where that is less."""
        return cls(mean=max(min(mean, longest / 2), 1.0), longest=longest, sigma=sigma)

    @cached_property
    def survival(self) -> np.ndarray:
        """P(length > t) for t = 0 ... longest - 1; their sum is the mean."""
        low, high = np.log(1e-3), np.log(1e3 * self.longest)
        for _ in range(100):  # the mean rises with the scale
            middle = (low + high) / 2
            low, high = (middle, high) if self._survival(middle).sum() < self.mean else (low, middle)
        return self._survival(high)

    def _survival(self, log_scale: float) -> np.ndarray:
        t = np.arange(self.longest)
        log_t = np.log(np.maximum(t, 1e-9))
        if self.sigma == 0:
            # A share of the last token, so that any mean can be met.
            return np.clip(np.exp(log_scale) - t, 0, 1)
        return np.where(t == 0, 1.0, ndtr((log_scale - log_t) / self.sigma))

    @property
    def mean_square(self) -> float:
        """E[length^2]."""
        return float(((2 * np.arange(self.longest) + 1) * self.survival).sum())

    def expected_longest(self, num_sequences: int) -> float:
        """Expected maximum over independent sequences: how long a wave is decoded until all have ended."""
        return float((1 - (1 - self.survival) ** num_sequences).sum())

    def quantiles(self, num: int) -> np.ndarray:
        """`num` lengths that stand for the distribution, int64, from the longest to the shortest."""
        levels = (np.arange(num) + 0.5) / num
        return np.searchsorted(-self.survival, -levels, side="right").clip(1, self.longest)

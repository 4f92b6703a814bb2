"""A straight line through points that may hold outliers and whose residuals may be correlated in time.

The line is Huber's M-estimate by reweighted least squares: a residual beyond 1.345 robust standard deviations
counts linearly, not by its square. Its uncertainty comes from a bootstrap of the residuals. A run's
residuals persist (a good step is followed by good ones), which plain resampling and even resampling of
short blocks understates; so the persistence is taken out as an autoregression of order one with its
small-sample bias corrected (Kendall 1954), blocks of the shocks that remain are drawn (Kunsch 1989), and
the autoregression is put back with a persistence drawn from its own error.

Arrays are NumPy, float64. Shapes: `n` points, `draws` of the bootstrap; "..." is broadcast over.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

HUBER = 1.345
"""95 % efficient where the noise is normal."""
NUM_REWEIGHTINGS = 12
MAX_PERSISTENCE = 0.97
"""An autoregression must be below 1; nearer to it 100 points do not tell its level."""
BLOCK_POINTS = 5
BURN_IN_POINTS = 60
"""Points after which an autoregression has forgotten that it began at zero: 0.97 ** 60 is 0.16."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Line:
    """intercept + slope * x, of one curve or of many at once."""

    slope: Float[np.ndarray, "*curves"]
    intercept: Float[np.ndarray, "*curves"]

    def at(self, x: Float[np.ndarray, " points"]) -> Float[np.ndarray, "*curves points"]:
        """Its values at `x`."""
        return self.intercept[..., None] + self.slope[..., None] * x


def huber_line(x: Float[np.ndarray, " n"], y: Float[np.ndarray, "*curves n"]) -> Line:
    """The robust line of y over x; x must not be constant."""
    centre = x.mean()
    x = x - centre  # slope and level then hardly disturb each other, and no digits are lost
    weights = np.ones_like(y)
    # Residuals below rounding are no noise: they must not make outliers of one another.
    smallest = 1e-12 * (np.abs(y).max(axis=-1, keepdims=True) + 1e-300)
    for _ in range(NUM_REWEIGHTINGS + 1):
        slope, level = _weighted(x, y, weights)
        size = np.abs(y - level[..., None] - slope[..., None] * x)
        scale = np.maximum(np.median(size, axis=-1, keepdims=True) / 0.6745, smallest)
        weights = np.minimum(1.0, HUBER * scale / np.maximum(size, smallest))
    return Line(slope=slope, intercept=np.asarray(level - slope * centre))


def _weighted(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slope, and level at x = 0, of least squares with weights."""
    total, x_sum, y_sum = weights.sum(axis=-1), weights @ x, (weights * y).sum(axis=-1)
    xx_sum, xy_sum = weights @ (x * x), (weights * y) @ x
    slope = (total * xy_sum - x_sum * y_sum) / (total * xx_sum - x_sum**2)
    return np.asarray(slope), np.asarray((y_sum - slope * x_sum) / total)


def persistence(residuals: Float[np.ndarray, " n"]) -> float:
    """Correlation of a residual with the one before, its small-sample bias added back, within +-0.97.

    The raw estimate is too small by about (1 + 4 rho) / n where a mean is fitted and by (2 + 4 rho) / n
    where a line is. 0 where nothing is left over, or where there are fewer than four points.
    """
    power = float(residuals @ residuals)
    if power == 0 or len(residuals) < 4:
        return 0.0
    raw = float(residuals[1:] @ residuals[:-1]) / power
    return float(np.clip(raw + (2 + 4 * raw) / len(residuals), -MAX_PERSISTENCE, MAX_PERSISTENCE))


def bootstrap_lines(
    x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"], line: Line, *, num_resamples: int, seed: int
) -> Line:
    """Lines refitted to `num_resamples` curves that could have been measured instead of y.

    Args:
        line: the line of x and y.

    Returns:
        Slopes and intercepts of shape (num_resamples,).
    """
    random = np.random.default_rng(seed)
    fitted = line.at(x)
    offset = x - x.mean()
    leverage = 1 / len(x) + offset**2 / (offset @ offset)
    # A line is drawn towards its points, the outer ones most: what is left over is smaller than the noise.
    residuals = (y - fitted) / np.sqrt(np.maximum(1 - leverage, 1e-3))
    noise = _like(residuals - residuals.mean(), num_resamples, random)
    draws, wider = huber_line(x, fitted + noise), _widening(len(x), persistence(residuals))
    return Line(
        slope=line.slope + wider * (draws.slope - line.slope),
        intercept=line.intercept + wider * (draws.intercept - line.intercept),
    )


def _widening(num_points: int, rho: float) -> float:
    """Student's 97.5 % quantile over the normal one: the size of the noise is estimated too.

    The relative variance of that size is that of the persistence, 1 / (n (1 - rho^2)), and of a variance
    by blocks of L, L / (3 n); the degrees of freedom are those of a chi-square that varies as much.
    """
    freedom = max(num_points / (2 / (1 - rho**2) + 2 * BLOCK_POINTS / 3), 3.0)
    # The quantile's expansion in 1 / freedom, good to 4 % from 3 degrees on.
    return 1 + 1.210 / freedom + 1.440 / freedom**2


def _like(
    residuals: Float[np.ndarray, " n"], num_draws: int, random: np.random.Generator
) -> Float[np.ndarray, "draws n"]:
    """Noise as persistent as the residuals, of shocks like theirs."""
    num_points, rho = len(residuals), persistence(residuals)
    shocks = residuals[1:] - rho * residuals[:-1]
    # Fitting two coefficients made the sums of BLOCK_POINTS neighbours too small, each by about block / n.
    shocks = (shocks - shocks.mean()) * np.sqrt(1 + 2 * BLOCK_POINTS / num_points)
    length = num_points + BURN_IN_POINTS
    starts = random.integers(len(shocks), size=(num_draws, -(-length // BLOCK_POINTS)))
    index = (starts[..., None] + np.arange(BLOCK_POINTS)) % len(shocks)
    drawn = shocks[index.reshape(num_draws, -1)[:, :length]]
    rhos = random.normal(rho, np.sqrt((1 - rho**2) / num_points), size=num_draws)
    rhos = np.clip(rhos, -MAX_PERSISTENCE, MAX_PERSISTENCE)
    noise = np.empty_like(drawn.T)
    state = np.zeros(num_draws)
    for point, shock in enumerate(drawn.T):
        state = rhos * state + shock
        noise[point] = state
    return np.ascontiguousarray(noise[BURN_IN_POINTS:].T)

"""Reasons not to trust a fit of the law, each with its number and what to do."""

import math

import numpy as np
from jaxtyping import Float

FEW_POINTS = 20
LITTLE_SPREAD_NATS = 0.05
"""Between the 5th and the 95th percentile of the entropies."""
LITTLE_EXPLAINED = 0.3
HIGH_PERSISTENCE = 0.9
"""Above it a hundred residuals are worth fewer than six independent ones: (1 - rho) / (1 + rho)."""
CURVATURE_SHARE = 0.5
CURVATURE_T = 3.5
FAR = 0.5
"""Ranges of exp(H) between the least seen and that of no entropy."""


def doubts_of(
    *,
    entropy: Float[np.ndarray, " n"],
    residuals: Float[np.ndarray, " n"],
    a: tuple[float, float],
    explained: float,
    persistence: float,
) -> tuple[str, ...]:
    """Why not to trust a law R = -a exp(H) + b with these residuals; `a` is the interval of a."""
    x = np.exp(entropy)
    spread = float(np.subtract(*np.percentile(entropy, (95, 5))))
    far = float((x.min() - 1) / np.ptp(x))
    bend, t = curvature(x, residuals, persistence)
    doubts = (
        (
            a[0] <= 0,
            f"the interval of a, {a[0]:.3g} to {a[1]:.3g}, holds zero or less: the run does not show success "
            "bought with entropy",
        ),
        (
            len(x) < FEW_POINTS,
            f"{len(x)} points are few, {FEW_POINTS} should be there: train longer or evaluate more often",
        ),
        (
            spread < LITTLE_SPREAD_NATS,
            f"entropies spread over {spread:.3g} nats only, {LITTLE_SPREAD_NATS} should be there",
        ),
        (
            not explained >= LITTLE_EXPLAINED,
            f"the law explains {_percent(explained)} of the variance of R, "
            f"{_percent(LITTLE_EXPLAINED)} should be there",
        ),
        (
            bend > CURVATURE_SHARE or t > CURVATURE_T,
            f"the residuals are curved over exp(H) (a parabola takes {_percent(bend)} of their variance, "
            f"t = {t:.1f}): a straight line is not the law of this run",
        ),
        (
            persistence >= HIGH_PERSISTENCE,
            f"residuals persist from point to point by {persistence:.2f}: {len(x)} points are worth "
            f"{effective_points(len(x), persistence):.1f} independent ones",
        ),
        (
            far > FAR,
            f"the ceiling lies {far:.1f} times the range of exp(H) seen below the least seen: it is "
            "extrapolated",
        ),
    )
    return tuple(doubt for holds, doubt in doubts if holds)


def effective_points(num_points: int, persistence: float) -> float:
    """How many independent points have as much to say of a mean as these."""
    return num_points * (1 - persistence) / (1 + persistence)


def curvature(
    x: Float[np.ndarray, " n"], residuals: Float[np.ndarray, " n"], persistence: float
) -> tuple[float, float]:
    """Share of the residuals' variance that a parabola over x takes beyond a line, and its |t|.

    t counts independent points only. 0 and 0 where there are no residuals, or under three values of x.
    """
    if len(np.unique(x)) < 3 or np.ptp(residuals) <= 1e-12:
        return 0.0, 0.0
    offset = (x - x.mean()) / x.std()
    line = np.stack([np.ones_like(offset), offset], axis=1)
    bow, left = (
        values - line @ np.linalg.lstsq(line, values, rcond=None)[0] for values in (offset**2, residuals)
    )
    if bow @ bow <= 1e-12 or left @ left <= 1e-24:
        return 0.0, 0.0
    share = min(float((bow @ left) ** 2 / ((bow @ bow) * (left @ left))), 1.0)
    freedom = max(effective_points(len(x), max(persistence, 0.0)) - 3, 0.0)
    return share, math.sqrt(freedom * share / max(1 - share, 1e-12))


def _percent(share: float) -> str:
    return "nothing" if math.isnan(share) else f"{100 * share:.0f} %"

"""Every check of a diagnosis, by concern."""

from entropy_rl.observatory.checks import entropy
from entropy_rl.observatory.verdicts import Check

CHECKS: tuple[Check, ...] = (
    entropy.level,
    entropy.slope,
    entropy.explosion,
    entropy.base,
    entropy.start,
)

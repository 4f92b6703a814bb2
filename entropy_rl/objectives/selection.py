"""What a covariance objective selects, and among which tokens it may look."""

from dataclasses import dataclass

import jax
from jaxtyping import Array, Bool, Float, Int32


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Selection:
    """The tokens an objective treats apart, with what is needed to report on the choice."""

    selected_BT: Bool[Array, "*parts B T"]
    candidate_BT: Bool[Array, "*parts B T"]
    """The tokens that could have been selected."""
    covariance_BT: Float[Array, "*parts B T"]
    num_candidates: Int32[Array, "*parts"]
    quota: Int32[Array, "*parts"]
    """How many would have been selected of unlimited candidates."""


@dataclass(frozen=True, kw_only=True)
class MinibatchScope:
    """Means, candidates and quota over the whole optimiser mini-batch, as the paper defines them."""

    at_least_one: bool = False
    """Select one token even where the fraction of a small batch rounds down to none."""


@dataclass(frozen=True, kw_only=True)
class MicrobatchScope:
    """Means, candidates and quota within each micro-batch on its own, as verl does; for parity with it."""

    at_least_one: bool = True
    """Select one token even where the fraction of a small batch rounds down to none."""


Scope = MinibatchScope | MicrobatchScope

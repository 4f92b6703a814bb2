"""What a covariance objective selects, and among which tokens it may look."""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32

from entropy_rl.types import tree_of_arrays
from pallas_kernels.covariance_selection import Choice, CovarianceSelector, Distribution

DEFAULT_SELECTOR = CovarianceSelector()
"""Plain XLA on arrays as they are; a mesh or a TPU deserves its own."""

COVARIANCE_QUANTILES = {"min": 0.0, "q50": 0.5, "q90": 0.9, "q99": 0.99, "q999": 0.999, "max": 1.0}
"""Quantiles of the token covariance, by the names they are logged by."""
COVARIANCE_TOPS = {
    "top_0.02_percent": 0.0002,
    "top_0.2_percent": 0.002,
    "top_2_percent": 0.02,
    "top_20_percent": 0.2,
    "top_50_percent": 0.5,
}
"""Shares of the tokens of largest covariance whose means are logged (Table 1), by their names."""
DESCRIPTION = {
    "quantiles": tuple(COVARIANCE_QUANTILES.values()),
    "top_shares": tuple(COVARIANCE_TOPS.values()),
}
"""What a selector is asked for beside its choice."""


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


def by_name(covariance: Distribution) -> dict[str, Float[Array, ""]]:
    """Mean, quantiles and means of the largest by the names they are logged by."""
    return {
        "mean": covariance.mean,
        **dict(zip(COVARIANCE_QUANTILES, covariance.quantiles_Q, strict=True)),
        **dict(zip(COVARIANCE_TOPS, covariance.top_means_S, strict=True)),
    }


@tree_of_arrays
@dataclass(frozen=True, kw_only=True)
class Selection:
    """The tokens an objective treats apart, with what is needed to report on the choice.

    The counts of the parts of a batch add up to those of the whole.
    """

    selected_BT: Bool[Array, "*parts B T"]
    candidate_BT: Bool[Array, "*parts B T"]
    """The tokens that could have been selected."""
    covariance_BT: Float[Array, "*parts B T"]
    """0 where masked, nan where it is not finite."""
    quota: Int32[Array, "*parts"]
    """How many would have been selected of unlimited candidates."""
    num_candidates: Int32[Array, "*parts"]
    num_selected: Int32[Array, "*parts"]
    num_selected_positive: Int32[Array, "*parts"]
    """Selected tokens of positive advantage."""
    num_selected_negative: Int32[Array, "*parts"]
    """Selected tokens of negative advantage."""
    num_nonfinite: Int32[Array, "*parts"]
    """Valid tokens that can be neither averaged nor selected because they are not finite."""
    covariance: dict[str, Float[Array, "*parts"]] | None
    """Of `by_name`, over the valid tokens; None of a micro-batch, which is not what is reported on."""

    @classmethod
    def of(cls, choice: Choice, quota: Int32[Array, ""], scope: Scope) -> "Selection":
        """The selection of `scope`."""
        return cls(
            selected_BT=choice.selected_BT,
            candidate_BT=choice.candidate_BT,
            covariance_BT=choice.score_BT,
            quota=quota,
            num_candidates=choice.num_candidates,
            num_selected=choice.num_selected,
            num_selected_positive=choice.num_selected_positive,
            num_selected_negative=choice.num_selected_negative,
            num_nonfinite=choice.num_nonfinite,
            covariance=None if isinstance(scope, MicrobatchScope) else by_name(choice),
        )

    @classmethod
    def of_nothing(cls, covariance: Distribution) -> "Selection":
        """No tokens, but the covariances of them all."""
        none_BT, zero = jnp.zeros(covariance.score_BT.shape, bool), jnp.zeros((), jnp.int32)
        choice = Choice(
            **vars(covariance),
            selected_BT=none_BT,
            candidate_BT=none_BT,
            num_candidates=zero,
            num_selected=zero,
            num_selected_positive=zero,
            num_selected_negative=zero,
        )
        return cls.of(choice, zero, MinibatchScope())

"""Policy-gradient objectives: PPO clip, Clip-Cov and KL-Cov (arXiv 2505.22617, Section 4).

Each is a loss per token plus a choice of tokens that the loss treats apart. Choosing (`select`) has no
gradient and wants every token of its scope at once; the loss (`token_loss`) looks at each token alone, and so
may be computed in any split of the batch. Averaging is the business of `aggregation`, entropy and KL terms of
`divergences`.

With d = logp - old_logp and r = exp(d), the gradient of -A * r at d = 0 is that of REINFORCE.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from entropy_rl.objectives.numerics import as_float, count, log_ratio
from entropy_rl.objectives.quota import exact_quota, parse_fraction
from entropy_rl.objectives.selection import (
    DEFAULT_SELECTOR,
    DESCRIPTION,
    MinibatchScope,
    Scope,
    Selection,
)
from pallas_kernels.covariance_selection import CovarianceSelector, TokenIdentity

MAX_LOG_RATIO = 20.0
"""PPO clamps d to +-20 before exp; the covariance objectives do not (they follow the paper's code)."""


class PolicyObjective(ABC):
    """The interface of all objectives: arrays in, arrays out. Masked entries may hold anything, even nan."""

    @property
    @abstractmethod
    def needs_selection(self) -> bool:
        """Whether `token_loss` looks at `selected_BT`."""

    @property
    @abstractmethod
    def selection_acts_on_policy(self) -> bool:
        """Whether it does so even where logp equals old_logp, as in the first update of a rollout."""

    def select(
        self,
        *,
        logp_BT: Float[Array, "B T"],
        old_logp_BT: Float[Array, "B T"],
        adv_BT: Float[Array, "B T"],
        mask_BT: Bool[Array, "B T"],
        identity: TokenIdentity,
        key: Key[Array, ""],
        selector: CovarianceSelector = DEFAULT_SELECTOR,
    ) -> Selection:
        """Choose tokens among those given; free of gradient. Identities must be distinct.

        The choice depends on what the tokens are, never on where they lie: ties and random numbers go by a
        token's identity (sequence id, position). No `selector` changes it either, only how it is computed.
        """
        logp_BT, old_logp_BT, adv_BT = jax.lax.stop_gradient((logp_BT, old_logp_BT, adv_BT))
        return self._select(selector, logp_BT, old_logp_BT, adv_BT, mask_BT, identity, key)

    @abstractmethod
    def _select(self, selector, logp_BT, old_logp_BT, adv_BT, mask_BT, identity, key) -> Selection: ...

    @abstractmethod
    def token_loss(
        self,
        *,
        logp_BT: Float[Array, "B T"],
        old_logp_BT: Float[Array, "B T"],
        adv_BT: Float[Array, "B T"],
        mask_BT: Bool[Array, "B T"],
        selected_BT: Bool[Array, "B T"],
    ) -> Float[Array, "B T"]:
        """The loss of each token, differentiable in `logp_BT`; 0, with gradient 0, where masked."""

    @abstractmethod
    def clip_causes(
        self,
        *,
        logp_BT: Float[Array, "B T"],
        old_logp_BT: Float[Array, "B T"],
        adv_BT: Float[Array, "B T"],
        mask_BT: Bool[Array, "B T"],
        selected_BT: Bool[Array, "B T"],
    ) -> dict[str, Bool[Array, "B T"]]:
        """The tokens whose plain policy gradient was altered, by cause; the causes are disjoint."""


@dataclass(frozen=True, kw_only=True)
class PPOClip(PolicyObjective):
    """max(-A r, -A clip(r, 1 - eps_low, 1 + eps_high)), at most -A dual_clip where A < 0.

    Clip-higher is `eps_high` > `eps_low`. It selects nothing, but reports the covariance like the others.
    """

    eps_low: float = 0.2
    """How far below 1 a ratio may fall and still be pushed down."""
    eps_high: float = 0.2
    """How far above 1 a ratio may rise and still be pushed up."""
    dual_clip: float | None = 10.0
    """Largest ratio with which a token of negative advantage counts (above 1); None for no limit."""

    def __post_init__(self):
        _check_window(self.eps_low, self.eps_high)
        if self.dual_clip is not None and self.dual_clip <= 1:
            raise ValueError(f"dual_clip must be above 1 (or None for no dual clip), got {self.dual_clip}")

    @property
    def needs_selection(self):
        return False

    @property
    def selection_acts_on_policy(self):
        return False

    def _select(self, selector, logp_BT, old_logp_BT, adv_BT, mask_BT, identity, key):
        covariance = selector.covariance(adv_BT, logp_BT, mask_BT, **DESCRIPTION)
        return Selection.of_nothing(covariance)

    def token_loss(self, *, logp_BT, old_logp_BT, adv_BT, mask_BT, selected_BT):
        plain_BT, clipped_BT, adv_BT = self._surrogates(logp_BT, old_logp_BT, adv_BT, mask_BT)
        loss_BT = jnp.maximum(plain_BT, clipped_BT)
        if self.dual_clip is None:
            return loss_BT
        return jnp.where(adv_BT < 0, jnp.minimum(loss_BT, -adv_BT * self.dual_clip), loss_BT)

    def clip_causes(self, *, logp_BT, old_logp_BT, adv_BT, mask_BT, selected_BT):
        plain_BT, clipped_BT, adv_BT = self._surrogates(logp_BT, old_logp_BT, adv_BT, mask_BT)
        causes = _window_causes(plain_BT, clipped_BT, adv_BT)
        if self.dual_clip is None:
            return causes
        exceeds_BT = jnp.maximum(plain_BT, clipped_BT) > -adv_BT * self.dual_clip
        return causes | {"dual": (adv_BT < 0) & exceeds_BT}

    def _surrogates(self, logp_BT, old_logp_BT, adv_BT, mask_BT):
        d_BT = log_ratio(logp_BT, old_logp_BT, mask_BT)
        d_BT = jnp.clip(d_BT, -MAX_LOG_RATIO, MAX_LOG_RATIO)
        return _clipped_surrogates(d_BT, adv_BT, mask_BT, self.eps_low, self.eps_high)


@dataclass(frozen=True, kw_only=True)
class ClipCov(PolicyObjective):
    """PPO clip that also drops, at random, a few tokens of covariance in (cov_low, cov_high) (Eqs. 11-12).

    Dropped tokens lose their gradient and stay in the denominator of a mean. Tokens that the ratio clips
    already are no candidates; by default its window is so wide that only r > 2 at A > 0 is clipped.
    """

    fraction: float = 2e-4
    """Dropped tokens as a fraction of all valid tokens (r in the paper)."""
    cov_low: float = 1.0
    """Candidates have a covariance above this (omega_low)."""
    cov_high: float = 5.0
    """Candidates have a covariance below this (omega_high)."""
    eps_low: float = 1.0
    """How far below 1 a ratio may fall and still be pushed down."""
    eps_high: float = 1.0
    """How far above 1 a ratio may rise and still be pushed up."""
    scope: Scope = MinibatchScope()
    """Among which tokens to choose; the caller hands `select` the arrays of that scope."""

    def __post_init__(self):
        parse_fraction(self.fraction)
        _check_window(self.eps_low, self.eps_high)
        if not self.cov_low < self.cov_high:
            raise ValueError(f"cov_low must be below cov_high, got {self.cov_low} and {self.cov_high}")

    @property
    def needs_selection(self):
        return True

    @property
    def selection_acts_on_policy(self):
        return True

    def _select(self, selector, logp_BT, old_logp_BT, adv_BT, mask_BT, identity, key):
        plain_BT, clipped_BT, _ = self._surrogates(logp_BT, old_logp_BT, adv_BT, mask_BT)
        quota = exact_quota(self.fraction, count(mask_BT), at_least_one=self.scope.at_least_one)
        choice = selector.uniform(
            adv_BT,
            logp_BT,
            mask_BT,
            among_BT=~(clipped_BT > plain_BT),
            window=(self.cov_low, self.cov_high),
            k=quota,
            identity=identity,
            key=key,
            **DESCRIPTION,
        )
        return Selection.of(choice, quota, self.scope)

    def token_loss(self, *, logp_BT, old_logp_BT, adv_BT, mask_BT, selected_BT):
        plain_BT, clipped_BT, _ = self._surrogates(logp_BT, old_logp_BT, adv_BT, mask_BT & ~selected_BT)
        return jnp.maximum(plain_BT, clipped_BT)

    def clip_causes(self, *, logp_BT, old_logp_BT, adv_BT, mask_BT, selected_BT):
        surrogates = self._surrogates(logp_BT, old_logp_BT, adv_BT, mask_BT & ~selected_BT)
        return _window_causes(*surrogates) | {"cov": mask_BT & selected_BT}

    def _surrogates(self, logp_BT, old_logp_BT, adv_BT, mask_BT):
        d_BT = log_ratio(logp_BT, old_logp_BT, mask_BT)
        return _clipped_surrogates(d_BT, adv_BT, mask_BT, self.eps_low, self.eps_high)


@dataclass(frozen=True, kw_only=True)
class KLCov(PolicyObjective):
    """Plain policy gradient, with a penalty |d| on the tokens of largest covariance (Eqs. 13-14).

    The ratio is not clipped. The penalty's gradient is penalty_coef * sign(d): zero at d = 0, hence in the
    first update of a rollout, and a run with one update a rollout is not regularised at all.
    """

    fraction: float = 2e-3
    """Penalised tokens as a fraction of all valid tokens (k in the paper, which takes 2e-4 at 32B)."""
    penalty_coef: float = 1.0
    """Weight of the absolute log-ratio |d| (beta)."""
    scope: Scope = MinibatchScope()
    """Among which tokens to choose; the caller hands `select` the arrays of that scope."""

    def __post_init__(self):
        parse_fraction(self.fraction)
        if self.penalty_coef < 0:
            raise ValueError(f"penalty_coef must not be negative, got {self.penalty_coef}")

    @property
    def needs_selection(self):
        return True

    @property
    def selection_acts_on_policy(self):
        return False

    def _select(self, selector, logp_BT, old_logp_BT, adv_BT, mask_BT, identity, key):
        quota = exact_quota(self.fraction, count(mask_BT), at_least_one=self.scope.at_least_one)
        choice = selector.largest(adv_BT, logp_BT, mask_BT, k=quota, identity=identity, **DESCRIPTION)
        return Selection.of(choice, quota, self.scope)

    def token_loss(self, *, logp_BT, old_logp_BT, adv_BT, mask_BT, selected_BT):
        d_BT = log_ratio(logp_BT, old_logp_BT, mask_BT)
        adv_BT = jnp.where(mask_BT, as_float(adv_BT), 0)
        # |d|, but with gradient 0 at d = 0: that of jnp.abs is 1 there and would push every selected token.
        absolute_BT = jnp.sign(d_BT) * d_BT
        return -adv_BT * jnp.exp(d_BT) + self.penalty_coef * jnp.where(selected_BT, absolute_BT, 0)

    def clip_causes(self, *, logp_BT, old_logp_BT, adv_BT, mask_BT, selected_BT):
        return {"kl_penalty": mask_BT & selected_BT}


def _check_window(eps_low, eps_high):
    if eps_low < 0 or eps_high < 0:
        raise ValueError(f"eps_low and eps_high must not be negative, got {eps_low} and {eps_high}")


def _clipped_surrogates(d_BT, adv_BT, mask_BT, eps_low, eps_high):
    """-A r, the same with r clipped, and A; all 0 where masked (`d_BT` must be 0 there)."""
    adv_BT = jnp.where(mask_BT, as_float(adv_BT), 0)
    ratio_BT = jnp.exp(d_BT)
    return -adv_BT * ratio_BT, -adv_BT * jnp.clip(ratio_BT, 1 - eps_low, 1 + eps_high), adv_BT


def _window_causes(plain_BT, clipped_BT, adv_BT):
    outside_BT = clipped_BT > plain_BT
    return {"clip_high": outside_BT & (adv_BT > 0), "clip_low": outside_BT & (adv_BT < 0)}

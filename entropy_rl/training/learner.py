"""One optimiser update of the policy on one mini-batch: jitted, donated, exact in any layout.

The loss of a mini-batch is linear in its token losses,

    loss = sum_bt weight_bt * (token_loss_bt + kl_coef * KL_bt - entropy_coef * H_bt),

with weights computed from the mask of the whole mini-batch. So the gradient is the plain sum of the
gradients of its micro-batches, and the covariance tokens are chosen once, over the whole mini-batch.
"""

from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int32

from entropy_rl.models.policy import Policy
from entropy_rl.objectives import (
    Aggregation,
    MinibatchScope,
    PolicyObjective,
    Regularizer,
    Selection,
    TokenMean,
)
from entropy_rl.training.batch import Minibatch, Sequences, TokenBatch
from entropy_rl.training.layout import Layout, Packed
from entropy_rl.training.optimizer import Optimizer
from entropy_rl.training.packed_rows import Packing
from entropy_rl.training.placement import (
    laid_as_accumulated,
    laid_as_parameters,
    laid_state,
    laid_whole,
)
from entropy_rl.training.update_metrics import update_metrics
from entropy_rl.types import Rollout, tree_of_arrays
from pallas_kernels.covariance_selection import CovarianceSelector


@tree_of_arrays
@dataclass(frozen=True, kw_only=True)
class TrainState:
    """Everything an update changes."""

    params: dict
    opt_state: optax.OptState
    num_skipped_in_a_row: Int32[Array | jax.ShapeDtypeStruct, ""]
    """Updates skipped since the last good one because the loss or the gradient was not finite."""


@tree_of_arrays
@dataclass(frozen=True, kw_only=True)
class UpdateReport:
    """What an update saw, under the policy as it was before it."""

    metrics: dict[str, Array]
    """Scalars by the names of metrics.jsonl."""
    logp_PGT: Float[Array, "P G T"]
    entropy_PGT: Float[Array, "P G T"]
    """Entropy of the whole vocabulary at each token, nats."""
    selected_PGT: Bool[Array, "P G T"]
    """Tokens chosen by their covariance: those that the gradient was told, where they act on it."""
    covariance_PGT: Float[Array, "P G T"]
    """As the selection computed it; nan where it is not finite."""


@dataclass(frozen=True, kw_only=True)
class Learner:
    """What an update computes. Static under jit; the arrays come as arguments."""

    policy: Policy
    objective: PolicyObjective
    optimizer: Optimizer
    aggregation: Aggregation = TokenMean()
    regularizer: Regularizer = Regularizer()
    temperature: float = 1.0
    """Temperature the rollouts were sampled at."""
    layout: Layout = Packed()
    """How a mini-batch goes through the model; with MinibatchScope no result depends on it."""
    selector: CovarianceSelector = CovarianceSelector()
    """How tokens are chosen by covariance; no result depends on it."""

    @property
    def chooses_ahead(self) -> bool:
        """Whether an update must choose among the whole mini-batch before its first micro-batch's gradient.

        Where there is only one it is the whole, and in verl's scope each chooses for itself: there the loss
        chooses.
        """
        selects = self.objective.needs_selection and isinstance(self.objective.scope, MinibatchScope)
        return selects and self.layout.may_cut

    @property
    def needs_first_old_logp(self) -> bool:
        """Whether the first update of a rollout, too, must be given its old log-probs, to choose by them."""
        return self.chooses_ahead and self.objective.selection_acts_on_policy

    @property
    def needs_first_statistics(self) -> bool:
        """Whether a forward pass of the first mini-batch, too, must go before the updates of a rollout."""
        return self.needs_first_old_logp or self.regularizer.entropy_bonus.needs_entropy

    def init(self, params) -> TrainState:
        """A fresh state around `params`, which are donated."""
        return _init(self, params)

    def packing(self, rollout: Rollout) -> Packing | None:
        """How the layout packs these sequences; waits for the rollout's lengths. None where it does not."""
        return self.layout.packing(rollout, self.policy.mesh)

    def abstract_packing(self, rollout: Rollout) -> Packing | None:
        """Its shapes, to compile for a rollout of these shapes."""
        return self.layout.abstract_packing(rollout, self.policy.mesh)

    def update(
        self, state: TrainState, batch: Minibatch, key: jax.Array, *, packing: Packing | None = None
    ) -> tuple[TrainState, UpdateReport]:
        """One optimiser update; `state` is donated.

        An update whose loss or gradient is not finite leaves parameters and optimiser state as they were.
        `packing` is that of the batch's rollout, made here if it is not given.
        """
        return _update(self, state, batch, key, packing or self.packing(batch.rollout))

    def log_probs(
        self, params, rollout: Rollout, *, packing: Packing | None = None
    ) -> tuple[Float[Array, "P G T"], Float[Array, "P G T"]]:
        """Log-probs and entropies (nats) of a rollout under `params`, computed as `update` computes them.

        Under padding they mean nothing. `packing` is that of the rollout, made here if it is not given.
        """
        return _log_probs(self, params, rollout, packing or self.packing(rollout))


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def _init(learner: Learner, params) -> TrainState:
    # Made by a jitted function like every later state, or the first update would be compiled twice.
    return _laid(learner, params, learner.optimizer.init(params), jnp.int32(0))


def _laid(learner: Learner, params, opt_state: optax.OptState, num_skipped_in_a_row) -> TrainState:
    """The state, lying as every update finds and leaves it."""
    return TrainState(
        params=laid_as_parameters(learner.policy, params),
        opt_state=laid_state(learner.policy, learner.optimizer, opt_state, params),
        num_skipped_in_a_row=laid_whole(learner.policy, num_skipped_in_a_row),
    )


@partial(jax.jit, static_argnums=0)
def _log_probs(learner: Learner, params, rollout: Rollout, packing: Packing | None):
    def step(carry, sequences, _):
        return carry, _statistics(learner, params, sequences)

    _, statistics = learner.layout.fold(step, None, rollout, packing, None, learner.policy.mesh)
    return jax.tree.map(lambda x: x.reshape(rollout.response_ids_PGT.shape), statistics)


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def _update(learner: Learner, state: TrainState, batch: Minibatch, key, packing: Packing | None):
    shape = batch.rollout.response_ids_PGT.shape
    tokens = TokenBatch.of(batch, learner.aggregation)
    ahead, num_forwards = _choose_ahead(learner, state.params, batch, packing, tokens, key)
    loss, grads, statistics, selection = _gradient(learner, state.params, batch, packing, tokens, ahead, key)
    logp_BT, entropy_BT = statistics
    selection = _to_report(learner, batch, tokens, selection, logp_BT, key)
    grad_norm = optax.tree.norm(grads)
    finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
    updates, opt_state = learner.optimizer.transformation().update(grads, state.opt_state, state.params)
    params, opt_state = jax.tree.map(
        lambda new, old: jnp.where(finite, new, old),
        (optax.apply_updates(state.params, updates), opt_state),
        (state.params, state.opt_state),
    )
    num_skipped_in_a_row = jnp.where(finite, 0, state.num_skipped_in_a_row + 1)
    metrics = {
        "optimizer/loss": loss,
        "optimizer/grad_norm": grad_norm,
        "optimizer/skipped_updates": jnp.where(finite, 0, 1),
        "optimizer/skipped_in_a_row": num_skipped_in_a_row,
        "passes/selection": num_forwards,
        **learner.layout.load(batch.rollout, packing),
        **update_metrics(learner.objective, learner.selector, tokens, selection, logp_BT),
    }
    report = UpdateReport(
        metrics=metrics,
        logp_PGT=logp_BT.reshape(shape),
        entropy_PGT=entropy_BT.reshape(shape),
        selected_PGT=selection.selected_BT.reshape(shape),
        covariance_PGT=selection.covariance_BT.reshape(shape),
    )
    return _laid(learner, params, opt_state, num_skipped_in_a_row), report


def _choose_ahead(
    learner: Learner, params, batch: Minibatch, packing: Packing | None, tokens: TokenBatch, key
) -> tuple[Selection | None, Int32[Array, ""]]:
    """(The selection of the whole mini-batch, forward passes spent on it), before the first gradient.

    The first update of a rollout spends none: there the current log-probs are the old ones. None where the
    loss itself chooses, or nothing is selected.
    """
    if not learner.chooses_ahead:
        return None, jnp.int32(0)

    def chosen(tokens, logp_BT):
        return tokens.select(learner.objective, learner.selector, logp_BT, key)

    def by_old_logp():
        return chosen(tokens, tokens.old_logp_BT), jnp.int32(0)

    def by_forward():
        logp_PGT, _ = _log_probs(learner, params, batch.rollout, packing)
        return chosen(tokens, logp_PGT.reshape(tokens.mask_BT.shape)), jnp.int32(1)

    def of_nothing():  # it would not act; `_to_report` chooses what is reported
        nothing = replace(tokens, mask_BT=jnp.zeros_like(tokens.mask_BT))
        return chosen(nothing, tokens.old_logp_BT), jnp.int32(0)

    first = by_old_logp if learner.needs_first_old_logp else of_nothing
    return jax.lax.cond(batch.on_policy, first, by_forward)


def _to_report(
    learner: Learner, batch: Minibatch, tokens: TokenBatch, selection: Selection | None, logp_BT, key
) -> Selection:
    """The selection that the metrics tell of, where the gradient could do without the true one."""
    if selection is None:  # the objective selects nothing, but there are covariances all the same
        return tokens.select(learner.objective, learner.selector, logp_BT, key)
    if learner.chooses_ahead and not learner.needs_first_old_logp:
        return jax.lax.cond(
            batch.on_policy,
            lambda: tokens.select(learner.objective, learner.selector, logp_BT, key),
            lambda: selection,
        )
    return selection


def _gradient(
    learner: Learner,
    params,
    batch: Minibatch,
    packing: Packing | None,
    tokens: TokenBatch,
    ahead: Selection | None,
    key,
):
    """(loss, gradient in f32, (logp, entropy) [B, T], selection), micro-batches added up."""

    def step(total, sequences, by_token):
        loss_and_gradient = jax.value_and_grad(_loss, has_aux=True)
        (loss, rest), grads = loss_and_gradient(
            params, learner, sequences, *by_token, batch.entropy_coef, key
        )
        return jax.tree.map(jnp.add, total, (loss, laid_as_accumulated(learner.policy, grads))), rest

    zero = (jnp.float32(0), laid_as_accumulated(learner.policy, optax.tree.zeros_like(params)))
    by_token = (tokens, None if ahead is None else ahead.selected_BT)
    (loss, grads), (statistics, chosen) = learner.layout.fold(
        step, zero, batch.rollout, packing, by_token, learner.policy.mesh
    )
    return loss, grads, statistics, chosen or ahead


def _loss(params, learner: Learner, sequences: Sequences, tokens: TokenBatch, selected_BT, entropy_coef, key):
    """Share of one micro-batch in the loss, which itself chooses among these tokens where none are given."""
    statistics = _statistics(learner, params, sequences)
    (logp_BT, entropy_BT), chosen = statistics, None
    if not learner.objective.needs_selection:
        selected_BT = jnp.zeros_like(tokens.mask_BT)
    elif selected_BT is None:
        chosen = tokens.select(learner.objective, learner.selector, logp_BT, key)
        selected_BT = chosen.selected_BT
    loss_BT = learner.objective.token_loss(
        logp_BT=logp_BT,
        old_logp_BT=tokens.old_or(logp_BT),
        adv_BT=tokens.adv_BT,
        mask_BT=tokens.mask_BT,
        selected_BT=selected_BT,
    ) + learner.regularizer.token_penalty(
        logp_BT=logp_BT,
        mask_BT=tokens.mask_BT,
        entropy_BT=entropy_BT,
        ref_logp_BT=tokens.ref_logp_BT,
        entropy_coef=entropy_coef,
    )
    return jnp.sum(tokens.weight_BT * loss_BT), (jax.lax.stop_gradient(statistics), chosen)


def _statistics(learner: Learner, params, sequences: Sequences):
    """Log-prob of each label and entropy of its distribution [B, T], of one micro-batch."""
    hidden_BTD, label_BT = sequences.hidden_and_label(learner.policy, params)
    return learner.policy.token_statistics(params, hidden_BTD, label_BT, temperature=learner.temperature)

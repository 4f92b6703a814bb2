"""One optimiser update of the policy on one mini-batch: jitted, donated, exact under micro-batching.

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
from jaxtyping import Array, Float, Int32

from entropy_rl.models.parameters import logical_axes
from entropy_rl.models.policy import Policy
from entropy_rl.objectives import (
    Aggregation,
    MinibatchScope,
    PolicyObjective,
    Regularizer,
    Selection,
    TokenMean,
)
from entropy_rl.parallelism import parameter_shardings
from entropy_rl.training.batch import Minibatch, TokenBatch, join, split
from entropy_rl.training.optimizer import Optimizer
from entropy_rl.training.update_metrics import update_metrics
from entropy_rl.types import Rollout
from pallas_kernels.covariance_selection import CovarianceSelector


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class TrainState:
    """Everything an update changes."""

    params: dict
    opt_state: optax.OptState
    num_skipped_in_a_row: Int32[Array | jax.ShapeDtypeStruct, ""]
    """Updates skipped since the last good one because the loss or the gradient was not finite."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class UpdateReport:
    """What an update saw, under the policy as it was before it."""

    metrics: dict[str, Array]
    """Scalars by the names of metrics.jsonl."""
    logp_PGT: Float[Array, "P G T"]
    entropy_PGT: Float[Array, "P G T"]
    """Entropy of the whole vocabulary at each token, nats."""


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
    num_microbatches: int = 1
    """Parts into which a mini-batch is cut to save memory; with MinibatchScope no result depends on it."""
    selector: CovarianceSelector = CovarianceSelector()
    """How tokens are chosen by covariance; no result depends on it."""

    @property
    def chooses_ahead(self) -> bool:
        """Whether an update must choose among the whole mini-batch before its first micro-batch's gradient.

        One micro-batch is the whole, and in verl's scope each chooses for itself: there the loss chooses.
        """
        selects = self.objective.needs_selection and isinstance(self.objective.scope, MinibatchScope)
        return selects and self.num_microbatches > 1

    @property
    def needs_first_old_logp(self) -> bool:
        """Whether the first update of a rollout, too, must be given its old log-probs, to choose by them."""
        return self.chooses_ahead and self.objective.selection_acts_on_policy

    def init(self, params) -> TrainState:
        """A fresh state around `params`, which are donated."""
        return _init(self, params)

    def update(self, state: TrainState, batch: Minibatch, key: jax.Array) -> tuple[TrainState, UpdateReport]:
        """One optimiser update; `state` is donated.

        An update whose loss or gradient is not finite leaves parameters and optimiser state as they were.
        """
        return _update(self, state, batch, key)

    def log_probs(self, params, rollout: Rollout) -> tuple[Float[Array, "P G T"], Float[Array, "P G T"]]:
        """Log-probs and entropies (nats) of a rollout under `params`, computed as `update` computes them."""
        return _log_probs(self, params, rollout)


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def _init(learner: Learner, params) -> TrainState:
    # Made by a jitted function like every later state, or the first update would be compiled twice.
    opt_state = _laid_as_parameters(learner, learner.optimizer.init(params), params)
    return TrainState(params=params, opt_state=opt_state, num_skipped_in_a_row=jnp.int32(0))


def _laid_as_parameters(learner: Learner, opt_state: optax.OptState, params) -> optax.OptState:
    """Moments where their parameters lie: as mere zeros they would lie whole on every device."""
    if learner.policy.mesh is None:
        return opt_state

    def lay(moment, param, sharding):
        same = moment.shape == param.shape
        return jax.lax.with_sharding_constraint(moment, sharding) if same else moment

    shardings = parameter_shardings(learner.policy.mesh, logical_axes(learner.policy.config), params)
    chain = learner.optimizer.transformation()
    return optax.tree_utils.tree_map_params(chain, lay, opt_state, params, shardings)


@partial(jax.jit, static_argnums=0)
def _log_probs(learner: Learner, params, rollout: Rollout):
    parts = split(rollout, learner.num_microbatches)
    statistics = jax.lax.map(lambda part: _statistics(learner, params, part), parts)
    return jax.tree.map(join, statistics)


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def _update(learner: Learner, state: TrainState, batch: Minibatch, key):
    shape = batch.rollout.response_ids_PGT.shape
    tokens = TokenBatch.of(batch, learner.aggregation)
    ahead, num_forwards = _choose_ahead(learner, state.params, batch, tokens, key)
    loss, grads, statistics, selection = _gradient(learner, state.params, batch, tokens, ahead, key)
    logp_BT, entropy_BT = (x.reshape(-1, shape[-1]) for x in statistics)
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
        **update_metrics(learner.objective, learner.selector, tokens, selection, logp_BT),
    }
    report = UpdateReport(
        metrics=metrics, logp_PGT=logp_BT.reshape(shape), entropy_PGT=entropy_BT.reshape(shape)
    )
    return (
        TrainState(params=params, opt_state=opt_state, num_skipped_in_a_row=num_skipped_in_a_row),
        report,
    )


def _choose_ahead(
    learner: Learner, params, batch: Minibatch, tokens: TokenBatch, key
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
        logp_PGT, _ = _log_probs(learner, params, batch.rollout)
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
    learner: Learner, params, batch: Minibatch, tokens: TokenBatch, selection: Selection | None, key
):
    """(loss, gradient in f32, (logp, entropy) [P, G, T], selection), micro-batches added up."""
    num_parts, group = learner.num_microbatches, batch.adv_PG.shape[1]
    ahead_BT = None if selection is None else selection.selected_BT

    def of_part(rollout, tokens, selected_BT):
        loss_and_gradient = jax.value_and_grad(_loss, has_aux=True)
        (loss, rest), grads = loss_and_gradient(params, learner, rollout, tokens, selected_BT, key)
        return (loss, optax.tree.cast(grads, jnp.float32)), rest

    if num_parts == 1:
        (loss, grads), (statistics, chosen) = of_part(batch.rollout, tokens, ahead_BT)
        return loss, grads, statistics, selection or chosen

    def add(total, part):
        summands, rest = of_part(*part)
        return jax.tree.map(jnp.add, total, summands), rest

    zero = (jnp.float32(0), optax.tree.cast(optax.tree.zeros_like(params), jnp.float32))
    parts = (split(batch.rollout, num_parts), *split((tokens, ahead_BT), num_parts, group))
    (loss, grads), (statistics, chosen) = jax.lax.scan(add, zero, parts)
    if chosen is not None:
        selection = jax.tree.map(lambda x: x.sum() if x.ndim == 1 else join(x, group), chosen)
    return loss, grads, jax.tree.map(join, statistics), selection


def _loss(params, learner: Learner, rollout, tokens: TokenBatch, selected_BT, key):
    """Share of one micro-batch in the loss, which itself chooses among these tokens where none are given."""
    statistics = _statistics(learner, params, rollout)
    logp_BT, entropy_BT = (x.reshape(tokens.mask_BT.shape) for x in statistics)
    chosen = None
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
        logp_BT=logp_BT, mask_BT=tokens.mask_BT, entropy_BT=entropy_BT, ref_logp_BT=tokens.ref_logp_BT
    )
    return jnp.sum(tokens.weight_BT * loss_BT), (jax.lax.stop_gradient(statistics), chosen)


def _statistics(learner: Learner, params, rollout: Rollout):
    """Log-probs and entropies [P, G, T] of the responses."""
    shape = rollout.response_ids_PGT.shape
    ids_BT = rollout.response_ids_PGT.reshape(-1, shape[-1])
    policy = learner.policy
    hidden_BTD = policy.response_hidden(params, rollout.prompt_ids_PS, rollout.prompt_mask_PS, ids_BT)
    statistics = policy.token_statistics(params, hidden_BTD, ids_BT, temperature=learner.temperature)
    return jax.tree.map(lambda x: x.reshape(shape), statistics)

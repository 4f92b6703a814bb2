"""Batches the tests share: random ones with every awkward row, and the hand-computed one of the goldens."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from entropy_rl.objectives import Selection, TokenMean, masked_sum
from entropy_rl.objectives.selection import DEFAULT_SELECTOR
from pallas_kernels.covariance_selection import CovarianceSelector, TokenIdentity


class Batch(NamedTuple):
    logp: Array
    old_logp: Array
    adv: Array
    mask: Array

    def arguments(self):
        return {"logp_BT": self.logp, "old_logp_BT": self.old_logp, "adv_BT": self.adv, "mask_BT": self.mask}

    def __getitem__(self, rows):
        return Batch(*(array[rows] for array in tuple(self)))


def random_batch(seed=0, dtype=jnp.float32, poison=None) -> Batch:
    """7 sequences of 11 positions: one full, one empty, one of a single token; `poison` under the mask."""
    rng = np.random.default_rng(seed)
    length = np.array([11, 5, 0, 1, 7, 10, 3])
    mask = np.arange(11) < length[:, None]
    old_logp = -rng.exponential(1.5, mask.shape)
    logp = np.minimum(old_logp + 0.4 * rng.normal(size=mask.shape), 0)
    adv = np.broadcast_to(rng.normal(size=(7, 1)), mask.shape)
    arrays = [array if poison is None else np.where(mask, array, poison) for array in (logp, old_logp, adv)]
    return Batch(*(jnp.asarray(array, dtype) for array in arrays), jnp.asarray(mask))


def golden_batch() -> Batch:
    """2 sequences of 4 positions, the last one padding. A is that of a group with 4 right of 8."""
    logp = [[-0.10, -2.50, -0.05, -0.70], [-0.20, -4.00, -1.20, -9.0]]
    old_logp = [[-0.12, -2.40, -0.05, -0.90], [-0.20, -3.50, -1.00, -9.0]]
    mask = jnp.array([[True, True, True, True], [True, True, True, False]])
    adv = jnp.where(mask, jnp.array([[0.9354], [-0.9354]]), 0)
    return Batch(jnp.array(logp), jnp.array(old_logp), adv, mask)


def select(
    objective, batch: Batch, sequence_id=None, key=None, selector: CovarianceSelector = DEFAULT_SELECTOR
) -> Selection:
    if sequence_id is None:
        sequence_id = jnp.arange(len(batch.mask))
    if key is None:
        key = jax.random.key(0)
    return _select(objective, selector, batch, sequence_id, key)


@partial(jax.jit, static_argnums=(0, 1))
def _select(objective, selector, batch, sequence_id, key):
    identity = TokenIdentity.of_rows(sequence_id, batch.mask.shape[1])
    return objective.select(**batch.arguments(), identity=identity, key=key, selector=selector)


@partial(jax.jit, static_argnums=0)
def token_loss(objective, batch: Batch, selected):
    return objective.token_loss(**batch.arguments(), selected_BT=selected)


@partial(jax.jit, static_argnums=0)
def mean_loss(objective, batch: Batch, selected):
    weight = TokenMean().weights(batch.mask)
    return masked_sum(weight * token_loss(objective, batch, selected), batch.mask)


@partial(jax.jit, static_argnums=0)
def gradient(objective, batch: Batch, selected):
    return jax.grad(lambda logp: mean_loss(objective, batch._replace(logp=logp), selected))(batch.logp)


def indices(mask) -> set:
    return {(int(i), int(t)) for i, t in np.argwhere(np.asarray(mask))}

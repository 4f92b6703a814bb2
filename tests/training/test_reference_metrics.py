"""The divergence from the reference that a step reports: zero for the same policy, blind to padding."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np

from entropy_rl.training.update_metrics import reference_metrics
from tests.training.cases import make_rollout


def test_a_policy_does_not_diverge_from_itself():
    rollout = make_rollout(11)
    assert reference_metrics(rollout, rollout.logp_PGT)["policy/reference_kl"] == 0


def test_the_divergence_is_the_mean_over_tokens_whatever_lies_under_padding():
    rollout = make_rollout(11)
    rollout = replace(rollout, logp_PGT=jnp.full_like(rollout.logp_PGT, -1.0))
    ref_logp_PGT = jnp.where(rollout.response_mask_PGT, -1.5, jnp.nan)
    # x = logp - ref_logp = 0.5: exp(-0.5) - 1 + 0.5 = 0.10653066
    value = reference_metrics(rollout, ref_logp_PGT)["policy/reference_kl"]
    np.testing.assert_allclose(value, 0.10653066, rtol=1e-6)

"""One policy, four ways to run it: whole sequences, responses after prompts, prefill, and token by token."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from entropy_rl.models.policy import Policy
from tests.models.families import both_families

GROUP = 3


def compiled(method):
    """A bound method of a policy under jit; equal policies and shapes are compiled once."""
    return partial(_run, method.__self__, method.__name__)


@partial(jax.jit, static_argnums=(0, 1))
def _run(policy, name, *arrays):
    return getattr(policy, name)(*arrays)


@partial(jax.jit, static_argnums=0)
def gradient(policy, params, *batch):
    """Gradient of some sum over the hidden states of responses in which every element has its own weight."""

    def value(params):
        hidden = policy.response_hidden(params, *batch).astype("float32")
        return (hidden * jnp.cos(jnp.arange(hidden.size)).reshape(hidden.shape)).sum()

    return jax.grad(value)(params)


@both_families
def test_response_hidden_equals_the_plain_pass_over_prompt_and_response(policy, params, batch):
    prompt_ids_PS, prompt_mask_PS, response_ids_BT = batch
    hidden_BTD = compiled(policy.response_hidden)(params, *batch)
    for b, response in enumerate(response_ids_BT):
        prompt = prompt_ids_PS[b // GROUP][prompt_mask_PS[b // GROUP]]
        whole = compiled(policy.sequence_hidden)(params, jnp.concatenate([prompt, response])[None])[0]
        # Position n - 1 holds the last prompt token, which predicts the first response token.
        np.testing.assert_allclose(hidden_BTD[b], whole[len(prompt) - 1 : -1], atol=1e-5)


@both_families
def test_prefill_and_decode_equal_response_hidden(policy, params, batch):
    prompt_ids_PS, prompt_mask_PS, response_ids_BT = batch
    hidden_BTD = compiled(policy.response_hidden)(params, *batch)
    prefix, last_PD = compiled(policy.prefill)(params, prompt_ids_PS, prompt_mask_PS)
    np.testing.assert_allclose(jnp.repeat(last_PD, GROUP, axis=0), hidden_BTD[:, 0], atol=1e-6)
    B, T = response_ids_BT.shape
    # Slots that are not written yet hold garbage, which must not be seen.
    cache = jax.tree.map(lambda x: x + 7, policy.empty_cache(B // GROUP, GROUP, T))
    step = compiled(policy.decode_step)
    for t in range(T - 1):
        position_B = jnp.repeat(prefix.length_P, GROUP) + t
        hidden_BD, cache = step(params, response_ids_BT[:, t], position_B, prefix, cache, jnp.int32(t))
        np.testing.assert_allclose(hidden_BD, hidden_BTD[:, t + 1], atol=1e-5)


def test_gradient_through_shared_prompts_equals_that_of_repeated_prompts(policy, params, batch):
    *prompts, response_ids_BT = batch
    shared = gradient(policy, params, *batch)
    repeated = gradient(policy, params, *(jnp.repeat(x, GROUP, axis=0) for x in prompts), response_ids_BT)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5 * abs(b).max()), shared, repeated)


def test_more_padding_and_other_padding_tokens_change_nothing(policy, params, batch):
    prompt_ids_PS, prompt_mask_PS, response_ids_BT = batch
    wider_ids = jnp.pad(jnp.where(prompt_mask_PS, prompt_ids_PS, 30), ((0, 0), (4, 0)), constant_values=29)
    wider_mask = jnp.pad(prompt_mask_PS, ((0, 0), (4, 0)))
    hidden = compiled(policy.response_hidden)(params, *batch)
    np.testing.assert_allclose(
        compiled(policy.response_hidden)(params, wider_ids, wider_mask, response_ids_BT), hidden, atol=1e-5
    )


def test_a_token_changes_no_hidden_state_that_predicts_it_or_an_earlier_one(policy, params, batch):
    *prompt, response_ids_BT = batch
    changed = response_ids_BT.at[:, 4].add(1) % 31
    before = compiled(policy.response_hidden)(params, *prompt, response_ids_BT)
    after = compiled(policy.response_hidden)(params, *prompt, changed)
    np.testing.assert_array_equal(before[:, :5], after[:, :5])
    assert (jnp.abs(before[:, 5] - after[:, 5]).max(-1) > 1e-3).all()


def test_a_prompt_without_tokens_gives_finite_values_and_gradients(policy, params, batch):
    prompt_ids_PS, prompt_mask_PS, response_ids_BT = batch
    batch = prompt_ids_PS, prompt_mask_PS.at[0].set(False), response_ids_BT
    assert np.isfinite(compiled(policy.response_hidden)(params, *batch)).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient(policy, params, *batch)))


def test_a_response_of_one_token_is_predicted_by_its_prompt(policy, params, batch):
    *prompt, response_ids_BT = batch
    whole = compiled(policy.response_hidden)(params, *prompt, response_ids_BT)
    first = compiled(policy.response_hidden)(params, *prompt, response_ids_BT[:, :1])
    np.testing.assert_allclose(first, whole[:, :1], atol=1e-6)


@pytest.mark.parametrize("param_dtype", ["bfloat16", "float32"])
def test_bfloat16_arithmetic_stays_near_float32(policy, params, batch, param_dtype):
    params = jax.tree.map(lambda x: x.astype("bfloat16").astype("float32"), params)
    exact = compiled(policy.response_hidden)(params, *batch)
    # bfloat16 keeps 8 bits: some 2^-8 for each of about ten roundings on the way through three layers.
    tolerance = 0.04 * jnp.abs(exact).max()

    half = dataclasses.replace(policy, compute_dtype="bfloat16")
    params = jax.tree.map(lambda x: x.astype(param_dtype), params)
    hidden = compiled(half.response_hidden)(params, *batch)
    np.testing.assert_allclose(hidden.astype("float32"), exact, rtol=0, atol=tolerance)
    prefix, _ = compiled(half.prefill)(params, *batch[:2])
    position_B, cache = jnp.repeat(prefix.length_P, GROUP), half.empty_cache(6 // GROUP, GROUP, 2)
    token_B = batch[2][:, 0]
    decoded, cache = compiled(half.decode_step)(params, token_B, position_B, prefix, cache, jnp.int32(0))
    np.testing.assert_allclose(decoded.astype("float32"), exact[:, 1], rtol=0, atol=tolerance)
    assert hidden.dtype == decoded.dtype == cache.k_LPKGCH.dtype == jnp.bfloat16
    assert half.logits(params, hidden).dtype == jnp.float32


def test_gradients_have_the_dtype_of_the_parameters(policy, params, batch):
    half = dataclasses.replace(policy, compute_dtype="bfloat16")
    params = jax.tree.map(lambda x: x.astype("bfloat16"), params)
    leaves = jax.tree.leaves(gradient(half, params, *batch))
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype("bfloat16")}
    assert all(np.isfinite(leaf.astype("float32")).all() for leaf in leaves)


def test_tied_policies_score_with_the_embedding(policy, params, batch):
    tied = dataclasses.replace(policy, config=dataclasses.replace(policy.config, tie_embeddings=True))
    assert set(tied.abstract_params()) == set(params) - {"head"}
    hidden = compiled(policy.response_hidden)(params, *batch)
    np.testing.assert_allclose(
        tied.logits(params, hidden), hidden @ params["embedding"].T, rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(policy.logits(params, hidden), hidden @ params["head"].T, rtol=1e-4, atol=1e-4)


def test_one_layer_is_traced_whatever_their_number(policy, batch):
    def size(num_layers):
        deeper = Policy(dataclasses.replace(policy.config, num_layers=num_layers))
        jaxpr = jax.make_jaxpr(deeper.response_hidden)(deeper.abstract_params(), *batch)
        return len(str(jaxpr).splitlines())

    assert size(2) == size(9)


def test_equal_policies_share_one_compilation(policy, params, batch):
    traces = []

    def run(policy, params):
        traces.append(policy)
        return policy.sequence_hidden(params, batch[2])

    jitted = jax.jit(run, static_argnums=0)
    jitted(policy, params)
    jitted(dataclasses.replace(policy), params)
    assert len(traces) == 1


def test_init_depends_on_the_key_and_starts_norms_at_one_and_biases_at_zero(policy):
    one, other = (compiled(policy.init)(jax.random.key(seed)) for seed in (0, 1))
    assert not np.array_equal(one["embedding"], other["embedding"])
    assert not np.array_equal(one["layers"]["query"][0], one["layers"]["query"][1])
    assert (one["final_norm"] == 1).all() and (one["layers"]["query_bias"] == 0).all()

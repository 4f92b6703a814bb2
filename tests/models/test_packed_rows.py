"""Sequences packed into rows against each of them run alone."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from entropy_rl.models.training_attention import CuDNNAttention, SplashAttention, XLAAttention

LENGTHS = ((5, 1, 7), (2, 9))
"""Of the sequences in each row; the first row is padded behind, the second between and behind."""
C, GAP = 17, 3

ATTENTIONS = {
    "xla": XLAAttention(),
    "splash": SplashAttention(block_q=128, block_kv=128, interpret=True),
    "cudnn": CuDNNAttention(packed=True, implementation="xla"),
}


@pytest.fixture(scope="module")
def sequences():
    """Per row, the tokens of its sequences."""
    draw = np.random.default_rng(5)
    return [[draw.integers(0, 31, n).astype(np.int32) for n in lengths] for lengths in LENGTHS]


@pytest.fixture(scope="module")
def rows(sequences):
    """(token, position, segment), each [R, C]; padding holds other tokens and positions than zero."""
    token, position = (np.full((len(sequences), C), fill, np.int32) for fill in (30, 11))
    segment = np.zeros_like(token)
    for row, start, number, tokens in places(sequences):
        here = row, slice(start, start + len(tokens))
        token[here], position[here], segment[here] = tokens, np.arange(len(tokens)), number
    return tuple(map(jnp.asarray, (token, position, segment)))


def places(sequences):
    """(row, first slot, segment, tokens) of every sequence."""
    for row, inside in enumerate(sequences):
        start = 0
        for number, tokens in enumerate(inside, 1):
            yield row, start, number, tokens
            start += len(tokens) + GAP * row


def weights(tokens, D):
    """A weight of its own for every element of a sequence's hidden states."""
    return jnp.cos(jnp.arange(len(tokens) * D) + tokens.sum()).reshape(len(tokens), D)


@partial(jax.jit, static_argnums=0)
def packed(policy, params, rows, weight_RCD):
    def value(params):
        hidden = policy.packed_hidden(params, *rows)
        return (hidden * weight_RCD).sum(), hidden

    gradient, hidden = jax.grad(value, has_aux=True)(params)
    return hidden, gradient


@partial(jax.jit, static_argnums=0)
def alone(policy, params, tokens, weight):
    def value(params):
        hidden = policy.sequence_hidden(params, tokens[None])[0]
        return (hidden * weight).sum(), hidden

    gradient, hidden = jax.grad(value, has_aux=True)(params)
    return hidden, gradient


@pytest.mark.parametrize("attention", ATTENTIONS.values(), ids=ATTENTIONS)
def test_packed_sequences_have_the_hidden_states_and_gradients_of_each_alone(
    policy, params, sequences, rows, attention
):
    D = policy.config.hidden_size
    weight_RCD = np.zeros((*rows[0].shape, D), np.float32)
    expected, gradients = [], []
    for row, start, _, tokens in places(sequences):
        here = row, slice(start, start + len(tokens))
        weight_RCD[here] = weight = weights(tokens, D)
        states, gradient = alone(policy, params, jnp.asarray(tokens), weight)
        expected.append((here, states))
        gradients.append(gradient)
    hidden, gradient = packed(dataclasses.replace(policy, attention=attention), params, rows, weight_RCD)
    for here, states in expected:
        np.testing.assert_allclose(hidden[here], states, atol=1e-5)
    total = jax.tree.map(lambda *parts: sum(parts), *gradients)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(b).max()), gradient, total)


@pytest.mark.parametrize("attention", ATTENTIONS.values(), ids=ATTENTIONS)
def test_padding_is_finite_even_as_a_whole_row(policy, params, rows, attention):
    token, position, segment = rows
    rows = token, position, segment.at[0].set(0)
    policy = dataclasses.replace(policy, attention=attention)
    outputs = packed(policy, params, rows, np.ones((*token.shape, 13), np.float32))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(outputs))


@pytest.mark.parametrize("attention", ATTENTIONS.values(), ids=ATTENTIONS)
def test_no_token_of_another_segment_or_of_padding_changes_a_hidden_state(policy, params, rows, attention):
    token, position, segment = rows
    policy = dataclasses.replace(policy, attention=attention)
    second = segment == 2
    other = jnp.where(second, token, 30 - token), jnp.where(second, position, position + 3), segment
    weight = np.zeros((*token.shape, 13), np.float32)
    before, after = (packed(policy, params, rows, weight)[0] for rows in ((token, position, segment), other))
    moved = np.abs(before - after).max(-1)
    assert (moved[second] == 0).all()
    assert (moved[segment == 1] > 1e-3).all()


def test_an_attention_of_one_segment_a_row_is_refused(policy, params, rows):
    lengths = dataclasses.replace(policy, attention=CuDNNAttention(implementation="xla"))
    with pytest.raises(ValueError, match="packed=True"):
        lengths.packed_hidden(params, *rows)


def test_rows_of_one_sequence_are_run_without_the_mask_of_packed_ones(
    policy, params, rows, batch, monkeypatch
):
    policy = dataclasses.replace(policy, attention=ATTENTIONS["cudnn"])
    token_RC, *_ = rows

    def refuse(*_):
        raise AssertionError("a mask")

    monkeypatch.setattr(CuDNNAttention, "_by_mask", refuse)
    jax.eval_shape(policy.prefill, params, *batch[:2])
    jax.eval_shape(policy.response_hidden, params, *batch)
    jax.eval_shape(policy.sequence_hidden, params, token_RC)
    with pytest.raises(AssertionError, match="a mask"):
        jax.eval_shape(policy.packed_hidden, params, *rows)

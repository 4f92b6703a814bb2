"""The formulas against XLA's own cost analysis of a model whose loops are written out."""

from functools import partial

import jax
import jax.numpy as jnp
import pytest

from entropy_rl.models.config import Qwen2Config
from entropy_rl.models.policy import Policy
from entropy_rl.plan.arithmetic import gradient_flops, head_flops, layer_weights, layers_flops
from pallas_kernels.token_statistics import XLATiles

SMALL = Qwen2Config(
    vocab_size=2_048,
    num_layers=3,
    hidden_size=256,
    intermediate_size=640,
    num_heads=6,
    num_kv_heads=2,
    head_dim=64,
    tie_embeddings=False,
)
ROWS, SLOTS = 2, 128
TOKENS, PAIRS = float(ROWS * SLOTS), float(ROWS * SLOTS**2)


@pytest.fixture
def flops(monkeypatch):
    """Operations of a function of arrays, by XLA before it optimises; scans are unrolled, or it would count
    their bodies once."""
    monkeypatch.setattr(jax.lax, "scan", partial(jax.lax.scan, unroll=True))

    def of(function, *arguments) -> float:
        return jax.jit(function).lower(*arguments).cost_analysis()["flops"]

    return of


def policy(rematerialize) -> Policy:
    return Policy(SMALL, "float32", rematerialize=rematerialize, statistics=XLATiles(max_kept_bytes=0))


def rows():
    return (jax.ShapeDtypeStruct((ROWS, SLOTS), jnp.int32),) * 3


def test_a_forward_pass(flops):
    model = policy("layer")
    counted = flops(model.packed_hidden, model.abstract_params(), *rows())
    assert counted == pytest.approx(layers_flops(SMALL, TOKENS, PAIRS), rel=0.03)


def test_the_statistics_of_tokens(flops):
    model = policy("layer")
    hidden = jax.ShapeDtypeStruct((ROWS, SLOTS, SMALL.hidden_size), jnp.float32)
    counted = flops(model.token_statistics, model.abstract_params(), hidden, rows()[0])
    assert counted == pytest.approx(head_flops(SMALL, TOKENS), rel=0.03)


@pytest.mark.parametrize(("rematerialize", "again"), [("none", False), ("dots", False), ("layer", True)])
def test_a_gradient(flops, rematerialize, again):
    model = policy(rematerialize)

    def loss(params, token, position, segment):
        logp, entropy = model.token_statistics(
            params, model.packed_hidden(params, token, position, segment), token
        )
        return jnp.sum(logp * logp + entropy)

    counted = flops(jax.grad(loss), model.abstract_params(), *rows())
    expected = gradient_flops(SMALL, TOKENS, PAIRS, again=again, scores_again=False)
    assert counted == pytest.approx(expected, rel=0.04)


@pytest.mark.usefixtures("without_type_checks")
def test_a_decoded_token(flops):
    model, prompts, group, slots, length = policy("layer"), 3, 5, 96, 32

    def step(params, token, position, prefix, cache):
        hidden, cache = model.decode_step(params, token, position, prefix, cache, jnp.int32(7))
        return model.logits(params, hidden), cache

    params, row = model.abstract_params(), jax.ShapeDtypeStruct((prompts * group,), jnp.int32)
    prompt = [jax.ShapeDtypeStruct((prompts, length), dtype) for dtype in (jnp.int32, bool)]
    prefix, _ = jax.eval_shape(model.prefill, params, *prompt)
    cache = jax.eval_shape(lambda: model.empty_cache(prompts, group, slots))
    counted = flops(step, params, row, row, prefix, cache)
    tokens = float(prompts * group)
    expected = layers_flops(SMALL, tokens, tokens * (slots + length)) + head_flops(SMALL, tokens)
    assert counted == pytest.approx(expected, rel=0.03)


def test_a_layer_has_the_weights_of_its_seven_products():
    D, F, N, K, H = 256, 640, 6, 2, 64
    assert layer_weights(SMALL) == D * N * H + 2 * D * K * H + N * H * D + 3 * D * F

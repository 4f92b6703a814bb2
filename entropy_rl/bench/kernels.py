"""Token statistics on the present device: seconds, memory, and their ratios to plain XLA and to the ceiling.

The ceiling is the time of the matrix products that an implementation makes, each at the best rate of a large
one of its kind on the same device in the same run. The peer is what everybody else does: all logits at once,
in the operands' dtype, and autodiff. Candidates take turns, so that a disturbance hits them all.
"""

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp

from entropy_rl.models.config import QWEN2_5
from pallas_kernels.token_statistics import Implementation, XLATiles, statistics_of_logits, token_statistics

Dtype = Literal["float32", "bfloat16"]
NAIVE = "logits at once"
CEILING_COLUMNS, CEILING_TILES = 8_192, 4
"""Columns of each product that measures the ceiling, wide enough to be efficient; and how many are timed."""
PRODUCTS = {"logits": "TD,CD->TC", "hidden": "TC,CD->TD", "head": "TC,TD->CD"}
"""What is multiplied forward, and backward for the gradients of hidden and of head."""


@dataclass(frozen=True, kw_only=True)
class KernelRow:
    """One implementation at one shape, forward and backward of log-probs and entropies."""

    shape: str
    num_tokens: int
    hidden_size: int
    vocab_size: int
    dtype: str
    implementation: str
    seconds: float
    """Median."""
    seconds_range: tuple[float, float]
    temp_mib: float
    """Temporary memory, from the compiler."""
    num_products: int
    """Matrix products of the size of the head: forward, backward, and those made again."""
    ratio_to_naive: float
    """Time over that of all logits at once; below 1 is faster."""
    ratio_to_ceiling: float
    """Time over that of its matrix products alone, at the rate measured on this device."""


def bench_token_statistics(
    shape: str,
    implementations: dict[str, Implementation],
    *,
    num_tokens: int,
    dtype: Dtype,
    repeats: int,
) -> list[KernelRow]:
    """A row for all logits at once and one for each implementation, at the head of a size of Qwen2.5.

    Operands are random. What does not fit the device has nan for its figures.
    """
    hidden_size, vocab_size = QWEN2_5[shape].hidden_size, QWEN2_5[shape].vocab_size
    k1, k2, k3 = jax.random.split(jax.random.key(0), 3)
    operands = (
        jax.random.normal(k1, (num_tokens, hidden_size), dtype),
        jax.random.normal(k2, (vocab_size, hidden_size), dtype) * hidden_size**-0.5,
        jax.random.randint(k3, (num_tokens,), 0, vocab_size),
    )
    candidates = {NAIVE: _with_gradient(_all_at_once)} | {
        name: _with_gradient(lambda *xs, how=how: token_statistics(*xs, implementation=how))
        for name, how in implementations.items()
    }
    compiled = {name: _compiled_if_it_fits(function, operands) for name, function in candidates.items()}
    fitting = {name: function for name, function in compiled.items() if function is not None}
    products = _products(*operands[:2])
    runs = {name: (lambda f=f: f(*operands)) for name, f in fitting.items()}
    seconds = {name: [math.nan] for name in compiled} | take_turns(runs | products, repeats)
    num_tiles = vocab_size / CEILING_COLUMNS
    best_s = {name: min(seconds[name]) / CEILING_TILES * num_tiles for name in PRODUCTS}
    naive_s = statistics.median(seconds[NAIVE])
    rows = []
    for name, function in compiled.items():
        again = name != NAIVE and _makes_logits_again(implementations[name], num_tokens * vocab_size)
        median_s = statistics.median(seconds[name])
        rows.append(
            KernelRow(
                shape=shape,
                num_tokens=num_tokens,
                hidden_size=hidden_size,
                vocab_size=vocab_size,
                dtype=dtype,
                implementation=name,
                seconds=median_s,
                seconds_range=(min(seconds[name]), max(seconds[name])),
                temp_mib=_temp_mib(function),
                num_products=3 + again,
                ratio_to_naive=median_s / naive_s,
                ratio_to_ceiling=median_s / (sum(best_s.values()) + again * best_s["logits"]),
            )
        )
    return rows


def _compiled_if_it_fits(function: Callable, operands: tuple[jax.Array, ...]) -> jax.stages.Compiled | None:
    try:
        compiled = jax.jit(function).lower(*operands).compile()
        jax.block_until_ready(compiled(*operands))
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return None
    return compiled


def _temp_mib(function: jax.stages.Compiled | None) -> float:
    return math.nan if function is None else function.memory_analysis().temp_size_in_bytes / 2**20


def _makes_logits_again(implementation: Implementation, num_logits: int) -> bool:
    keeps = isinstance(implementation, XLATiles) and 4 * num_logits <= implementation.max_kept_bytes
    return not keeps


def _products(hidden_TD, head_VD) -> dict[str, Callable]:
    """Calls of each product alone by its name, some in a loop, so that results need no new memory."""
    head_NCD = head_VD[: CEILING_TILES * CEILING_COLUMNS].reshape(CEILING_TILES, CEILING_COLUMNS, -1)
    logit_NTC = jnp.ones((CEILING_TILES, hidden_TD.shape[0], CEILING_COLUMNS), hidden_TD.dtype)
    operands = {
        "logits": lambda tiles: (hidden_TD, tiles[0]),
        "hidden": lambda tiles: (tiles[1], tiles[0]),
        "head": lambda tiles: (tiles[1], hidden_TD),
    }

    def loop(name, tiles_N):
        def multiply(_, tiles):
            product = jnp.einsum(PRODUCTS[name], *operands[name](tiles), precision=jax.lax.Precision.HIGHEST)
            return product, None

        shape = jax.eval_shape(lambda: multiply(None, jax.tree.map(lambda x: x[0], tiles_N))[0])
        return jax.lax.scan(multiply, jnp.zeros(shape.shape, shape.dtype), tiles_N)[0]

    tiles_N = (head_NCD, logit_NTC)
    return {
        name: partial(jax.jit(partial(loop, name)).lower(tiles_N).compile(), tiles_N) for name in PRODUCTS
    }


def take_turns(runs: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each run, `repeats` times in turn, after one of each that is not timed."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(repeats + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            jax.block_until_ready(run())
            if number:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def present_device() -> dict[str, str]:
    """What is measured on."""
    return {
        "device": jax.devices()[0].device_kind,
        "backend": jax.default_backend(),
        "jax": jax.__version__,
    }


def _with_gradient(statistics_of: Callable) -> Callable:
    def both(hidden_TD, head_VD, label_T):
        (logp_T, entropy_T), pull = jax.vjp(lambda h, w: statistics_of(h, w, label_T), hidden_TD, head_VD)
        return logp_T, entropy_T, pull((jnp.ones_like(logp_T), jnp.full_like(entropy_T, 0.01)))

    return both


def _all_at_once(hidden_TD, head_VD, label_T):
    logit_TV = jnp.einsum(PRODUCTS["logits"], hidden_TD, head_VD, precision=jax.lax.Precision.HIGHEST)
    return statistics_of_logits(logit_TV.astype(jnp.float32), label_T)

"""Batches of 8 sequences of 37 positions, each awkward in its own way, and the selectors that must agree."""

from contextlib import contextmanager
from functools import partial
from typing import NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from jax._src.pallas.mosaic.interpret import interpret_pallas_call as interpreter
from jax.experimental.pallas import tpu as pltpu

from pallas_kernels.covariance_selection import (
    CovarianceSelector,
    MosaicHistogram,
    TokenIdentity,
    XLAHistogram,
)
from pallas_kernels.sharding import Shards

SHAPE = (8, 37)
QUANTILES = (0.0, 0.5, 0.9, 0.99, 0.999, 1.0)
TOP_SHARES = (0.0002, 0.2, 0.5, 1.0)
DESCRIPTION = {"quantiles": QUANTILES, "top_shares": TOP_SHARES}
WINDOW = (0.2, 2.0)
INTERPRETER = pltpu.InterpretParams(detect_races=True, uninitialized_memory="nan")
SELECTORS = {
    "xla": CovarianceSelector(),
    "mosaic": CovarianceSelector(histogram=MosaicHistogram(block_tokens=128, interpret=INTERPRETER)),
}


class Case(NamedTuple):
    """The operands of a selection; identities are full, so that tokens can be moved about at will."""

    x: jax.Array
    y: jax.Array
    mask: jax.Array
    among: jax.Array
    sequence_id: jax.Array
    position: jax.Array

    def __getitem__(self, rows):
        return Case(*(array[rows] for array in tuple(self)))

    def reshape(self, *shape):
        """The same tokens cut into other rows."""
        return Case(*(array.reshape(shape) for array in tuple(self)))


def case(name: str, seed: int = 0, dtype=jnp.float32) -> Case:
    """The batch of that name."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, *SHAPE))
    mask = np.arange(SHAPE[1]) < np.array([37, 5, 0, 1, 31, 10, 37, 22])[:, None]
    if name == "ties":  # a handful of different covariances, both zeros among them
        x, y = rng.integers(-1, 2, (2, *SHAPE))
    elif name == "all ties":  # groups without variance
        x = np.ones(SHAPE)
    elif name == "subnormal":  # products of 1e-40 or so, of either sign
        x, y = x * 1e-20, y * 1e-20
    elif name == "huge":
        x, y = x * 1e38, y * 1e-3
    elif name == "overflow":  # most products are beyond f32
        x, y = x * 1e30, y * 1e10
    elif name == "not finite":
        x = np.where(rng.random(SHAPE) < 0.2, np.nan, x)
        y = np.where(rng.random(SHAPE) < 0.2, rng.choice([np.inf, -np.inf], SHAPE), y)
    elif name == "nothing valid":
        mask = np.zeros(SHAPE, bool)
    elif name == "one valid":
        mask = np.zeros(SHAPE, bool)
        mask[4, 3] = True
    sequence_id = np.array([31, -4, 17, 5, 2**31 - 1, 11, -(2**31), 3], np.int32)
    identities = np.broadcast_arrays(sequence_id[:, None], np.arange(SHAPE[1], dtype=np.int32)[None])
    x, y = (jnp.asarray(np.where(mask, array, np.nan), dtype) for array in (x, y))
    masks = (jnp.asarray(mask), jnp.asarray(rng.random(SHAPE) < 0.7))
    return Case(x, y, *masks, *map(jnp.asarray, identities))


CASES = (
    "random",
    "ties",
    "all ties",
    "subnormal",
    "huge",
    "overflow",
    "not finite",
    "nothing valid",
    "one valid",
)


@partial(jax.jit, static_argnums=0)
def largest(selector, case: Case, k):
    identity = TokenIdentity(sequence_id=case.sequence_id, position=case.position)
    return selector.largest(case.x, case.y, case.mask, k=k, identity=identity, **DESCRIPTION)


@partial(jax.jit, static_argnums=(0, 4))
def uniform(selector, case: Case, k, key, window=WINDOW):
    return selector.uniform(
        case.x,
        case.y,
        case.mask,
        among_BT=case.among,
        window=window,
        k=k,
        identity=TokenIdentity(sequence_id=case.sequence_id, position=case.position),
        key=key,
        **DESCRIPTION,
    )


def on_devices(num_devices: int, histogram=None) -> tuple[CovarianceSelector, jax.sharding.NamedSharding]:
    """A selector that cuts rows over so many devices, and the sharding of its operands."""
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:num_devices]), ("data",))
    shards = Shards(mesh=mesh, tokens=("data",))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    return CovarianceSelector(histogram=histogram or XLAHistogram(), shards=shards), rows


def assert_same(got, expected, reorder=lambda x: x):
    """Every field equal bit by bit; `reorder` takes the expected arrays by token to the order of the got."""
    for name, value in vars(expected).items():
        value = np.asarray(value)
        value = reorder(value) if value.ndim == 2 else value
        np.testing.assert_array_equal(np.asarray(getattr(got, name)), value, err_msg=name, strict=True)


@contextmanager
def no_races(histogram):
    """No kernel that the TPU interpreter runs within may have a race, and a Mosaic `histogram` must run."""
    states = []

    class Kept(interpreter.RaceDetectionState):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            states.append(self)

    # The interpreter makes a new state for each kernel, and forgets the last one's.
    with mock.patch.object(interpreter, "RaceDetectionState", Kept):
        yield
    assert bool(states) == isinstance(histogram, MosaicHistogram)
    assert not any(state.races_found for state in states)

"""One random word a token, which depends on a key and on the token's identity alone.

The word is the first of Threefry-2x32 with 20 rounds (Salmon et al., SC 2011) of the counter
(sequence id, position). Written out in 32-bit integers, it is the same on every backend, under every sharding
and in every release; `jax.random` promises none of the three for a batch of draws.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, UInt32

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = np.uint32(0x1BD11BDA)


def key_words(key: Key[Array, ""]) -> UInt32[Array, " 2"]:
    """Two words of the key: those of a threefry key; the longer keys of other generators are hashed."""
    pairs = jax.random.key_data(key).astype(jnp.uint32).reshape(-1, 2)
    return functools.reduce(lambda words, pair: jnp.stack(threefry(words, pair[0], pair[1])), pairs)


def token_bits(
    words: UInt32[Array, " 2"], sequence_id: Int[Array, "*#shape"], position: Int[Array, "*#shape"]
) -> UInt32[Array, "*#shape"]:
    """32 random bits for each token; the identities are integers that fit 32 signed bits."""
    return threefry(words, *(x.astype(jnp.int32).astype(jnp.uint32) for x in (sequence_id, position)))[0]


def threefry(
    words: UInt32[Array, " 2"], x0: UInt32[Array, "*#shape"], x1: UInt32[Array, "*#shape"]
) -> tuple[UInt32[Array, "*#shape"], UInt32[Array, "*#shape"]]:
    """Threefry-2x32-20 of the counters (x0, x1) under the key `words`."""
    schedule = (words[0], words[1], words[0] ^ words[1] ^ _PARITY)
    x0, x1 = x0 + schedule[0], x1 + schedule[1]
    for group in range(5):
        for distance in _ROTATIONS[group % 2]:
            x0 = x0 + x1
            x1 = x0 ^ ((x1 << distance) | (x1 >> (32 - distance)))
        x0 = x0 + schedule[(group + 1) % 3]
        x1 = x1 + schedule[(group + 2) % 3] + jnp.uint32(group + 1)
    return x0, x1

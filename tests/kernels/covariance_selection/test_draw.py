"""The draw is uniform, and its bits are those of Threefry-2x32."""

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels.covariance_selection import CovarianceSelector, XLAHistogram
from pallas_kernels.covariance_selection.descent import Descent
from pallas_kernels.covariance_selection.reduction import Reduction
from pallas_kernels.covariance_selection.token_bits import key_words, threefry, token_bits

from .cases import Case, uniform


def words(*values):
    return jnp.array(values, jnp.uint32)


def test_the_published_vectors_of_threefry():
    # Random123, kat_vectors: threefry2x32, 20 rounds.
    for counter, key, expected in (
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0x1CB996FC, 0xBB002BE7)),
        ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
    ):
        assert tuple(map(int, threefry(words(*key), *words(*counter)))) == expected


def test_the_bits_depend_on_key_and_identity_alone():
    sequence_id, position = jnp.array([[-3], [7], [2**31 - 1]]), jnp.arange(5)[None]
    bits = token_bits(words(1, 2), sequence_id, position)
    assert bits.shape == (3, 5) and len(set(np.asarray(bits).ravel().tolist())) == 15
    assert bits[1, 4] == token_bits(words(1, 2), jnp.array([[7]]), jnp.array([[4]]))[0, 0]
    assert bits[1, 4] != token_bits(words(2, 1), jnp.array([[7]]), jnp.array([[4]]))[0, 0]


def test_longer_keys_of_other_generators_are_hashed_whole():
    one, other = (jax.random.wrap_key_data(words(0, 0, 0, last), impl="rbg") for last in (1, 2))
    assert key_words(one).shape == (2,) and (key_words(one) != key_words(other)).all()


def test_ten_thousand_keys_draw_every_pair_of_candidates_equally_often():
    # Five candidates, of covariance 1 each; two more tokens make the means zero.
    x = jnp.array([[1.0, 1, 1, -1], [-1, 1, -1, -1]])
    batch = Case(
        x,
        x,
        jnp.ones((2, 4), bool),
        jnp.array([[True] * 4, [True] + [False] * 3]),
        jnp.array([[3] * 4, [9] * 4]),
        jnp.arange(4)[None].repeat(2, 0),
    )
    selector = CovarianceSelector(histogram=XLAHistogram(digit_bits=4))
    keys = jax.random.split(jax.random.key(7), 10_000)
    drawn = jax.vmap(lambda key: uniform(selector, batch, jnp.int32(2), key).selected_BT)(keys)
    chosen = np.asarray(drawn)[:, np.asarray(batch.among)].astype(int)
    assert chosen.shape == (10_000, 5) and (chosen.sum(axis=1) == 2).all()
    counts = (chosen.T @ chosen)[np.triu_indices(5, 1)]
    # 10 pairs, 1000 expected of each; chi-squared with 9 degrees of freedom exceeds 27.9 once in a thousand.
    assert counts.sum() == 10_000 and ((counts - 1000) ** 2 / 1000).sum() < 27.9


def test_equal_bits_even_the_key_of_no_token_are_told_apart_by_identity():
    descent = Descent(histogram=XLAHistogram(), reduction=Reduction())
    key, eligible = jnp.full((3, 4), 0xFFFFFFFF, jnp.uint32), jnp.ones((3, 4), bool).at[0, 0].set(False)
    sequence_id, position = jnp.array([[5], [-2], [1]]), jnp.arange(4)[None]
    last = descent.at_rank(key.reshape(-1), jnp.int32(5))
    assert last.num_below_R == 0
    chosen = descent.first(key, eligible, jnp.int32(6), last, sequence_id, position)
    np.testing.assert_array_equal(chosen, [[False] * 4, [True] * 4, [True, True, False, False]])

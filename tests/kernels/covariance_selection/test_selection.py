"""Whatever the implementation, the choice is that of a sort by (score, sequence id, position)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.random import threefry_2x32

from pallas_kernels.covariance_selection import CovarianceSelector, TokenIdentity
from pallas_kernels.covariance_selection.reference import (
    first_reference,
    largest_reference,
    quantiles_reference,
    top_means_reference,
)

from .cases import (
    CASES,
    DESCRIPTION,
    QUANTILES,
    SELECTORS,
    SHAPE,
    TOP_SHARES,
    WINDOW,
    Case,
    assert_same,
    case,
    largest,
    no_races,
    on_devices,
    uniform,
)

every_case = pytest.mark.parametrize("name", CASES)
every_selector = pytest.mark.parametrize("selector", SELECTORS.values(), ids=SELECTORS)


def finite_by_numpy(batch) -> np.ndarray:
    """The tokens under the mask of which x, y, both deviations and the product are finite in f32."""
    x, y = (np.asarray(array, np.float32) for array in (batch.x, batch.y))
    finite = np.asarray(batch.mask) & np.isfinite(x) & np.isfinite(y)
    means = (np.float32(array[finite].sum(dtype=np.float64) / max(finite.sum(), 1)) for array in (x, y))
    with np.errstate(all="ignore"):
        return finite & np.isfinite((x - next(means)) * (y - next(means)))


def check(got, batch, candidate, chosen):
    """`got` against the candidates and the reference's choice."""
    np.testing.assert_array_equal(got.candidate_BT, candidate)
    np.testing.assert_array_equal(got.selected_BT, chosen)
    assert got.num_candidates == candidate.sum() and got.num_selected == chosen.sum()
    assert got.num_selected_positive == (chosen & (batch.x > 0)).sum()
    assert got.num_selected_negative == (chosen & (batch.x < 0)).sum()
    finite, mask = finite_by_numpy(batch), np.asarray(batch.mask)
    assert got.num_nonfinite == (mask & ~finite).sum()
    np.testing.assert_array_equal(np.isfinite(got.score_BT), finite | ~mask)
    np.testing.assert_array_equal(got.quantiles_Q, quantiles_reference(got.score_BT, batch.mask, QUANTILES))
    check_top_means(got, batch)


def check_top_means(got, batch):
    """Within 2**-29 of the largest score, and a rounding, of what a sort says."""
    tops = top_means_reference(got.score_BT, batch.mask, TOP_SHARES)
    largest_score = np.abs(np.nan_to_num(got.score_BT)).max()
    atol = largest_score / 2**29 + np.finfo(np.float32).tiny
    np.testing.assert_allclose(got.top_means_S, tops, rtol=2**-23, atol=atol)


def numbers_to_choose(selector, candidate):
    total = int(candidate.sum())
    if selector is SELECTORS["mosaic"]:  # interpreted: a second a choice
        return sorted({min(total // 2, 23), total + 5})
    return sorted({0, 1, 3, max(total - 1, 0), total, total + 5})


largest_by_sort, first_by_sort = jax.jit(largest_reference), jax.jit(first_reference)


@every_selector
@every_case
def test_the_k_largest_equal_the_reference(selector, name):
    batch = case(name)
    for k in numbers_to_choose(selector, batch.mask):
        k = jnp.int32(k)
        with no_races(selector.histogram):
            got = largest(selector, batch, k)
            chosen = largest_by_sort(got.score_BT, batch.mask, k, batch.sequence_id, batch.position)
            check(got, batch, finite_by_numpy(batch), chosen)


@pytest.mark.parametrize("name", ["huge", "overflow", "not finite"])
def test_some_tokens_are_finite_and_some_are_not_unless_they_are_only_huge(name):
    finite, mask = finite_by_numpy(case(name)), np.asarray(case(name).mask)
    assert finite.any() and (mask & ~finite).any() == (name != "huge")


@jax.jit
def drawn_bits(key, batch):
    """The bits of each token by JAX's own threefry, one counter at a time."""
    words, counters = jax.random.key_data(key), jnp.stack([batch.sequence_id, batch.position], axis=-1)
    draw = jax.vmap(jax.vmap(lambda counter: threefry_2x32(words, counter)[0]))
    return draw(counters.astype(jnp.uint32))


@every_selector
@every_case
def test_the_draw_equals_the_reference(selector, name, key):
    batch = case(name)
    bits = drawn_bits(key, batch)
    score = largest(SELECTORS["xla"], batch, jnp.int32(0)).score_BT
    candidate = batch.mask & batch.among & (score > WINDOW[0]) & (score < WINDOW[1])
    for k in numbers_to_choose(selector, candidate):
        k = jnp.int32(k)
        with no_races(selector.histogram):
            got = uniform(selector, batch, k, key)
            check(got, batch, candidate, first_by_sort(bits, candidate, k, batch.sequence_id, batch.position))


def test_an_empty_window_selects_nothing(key):
    got = uniform(SELECTORS["xla"], case("random"), jnp.int32(5), key, window=(50.0, 60.0))
    assert got.num_candidates == got.num_selected == 0 and not got.selected_BT.any()


@pytest.mark.parametrize("name", ["random", "ties", "not finite"])
def test_half_precision_sources_equal_the_reference(name):
    batch = case(name, dtype=jnp.bfloat16)
    got = largest(SELECTORS["xla"], batch, jnp.int32(20))
    assert got.score_BT.dtype == jnp.float32
    wide = batch._replace(x=batch.x.astype(jnp.float32), y=batch.y.astype(jnp.float32))
    assert_same(got, largest(SELECTORS["xla"], wide, jnp.int32(20)))
    chosen = largest_by_sort(got.score_BT, batch.mask, jnp.int32(20), batch.sequence_id, batch.position)
    np.testing.assert_array_equal(got.selected_BT, chosen)


@pytest.mark.parametrize("name", ["random", "not finite"])
def test_covariance_mean_and_quantiles_without_a_choice(name):
    batch = case(name)
    got = jax.jit(lambda b: CovarianceSelector().covariance(b.x, b.y, b.mask, **DESCRIPTION))(batch)
    chosen = largest(SELECTORS["xla"], batch, jnp.int32(3))
    describe = jax.jit(lambda *operands: CovarianceSelector().distribution(*operands, **DESCRIPTION))
    again = describe(got.score_BT, batch.mask)
    for field in vars(got):
        np.testing.assert_array_equal(getattr(got, field), getattr(chosen, field))
        np.testing.assert_array_equal(getattr(again, field), getattr(got, field))
    x, y = (np.asarray(array, np.float64) for array in (batch.x, batch.y))
    finite = np.asarray(batch.mask) & np.isfinite(x) & np.isfinite(y)
    expected = (x - x[finite].mean()) * (y - y[finite].mean())
    np.testing.assert_allclose(np.asarray(got.score_BT)[finite], expected[finite], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(got.mean, expected[finite].mean(), atol=1e-7)
    assert not np.asarray(got.score_BT)[~np.asarray(batch.mask)].any()


@pytest.mark.parametrize("name", ["random", "ties", "all ties"])
def test_rows_in_any_order_and_in_any_cut_choose_the_same_tokens(name, key):
    batch, selector = case(name), SELECTORS["xla"]
    for choose in (
        lambda b: largest(selector, b, jnp.int32(23)),
        lambda b: uniform(selector, b, jnp.int32(7), key),
    ):
        expected = choose(batch)
        assert 0 < expected.num_selected < expected.num_candidates or name == "all ties"
        for seed in range(3):
            order = np.random.default_rng(seed).permutation(SHAPE[0])
            assert_same(choose(batch[order]), expected, lambda x, order=order: x[order])
        for num_parts in (1, 2, 4, 8):  # the rows of each micro-batch one after another
            order = np.arange(SHAPE[0]).reshape(-1, num_parts).T.reshape(-1)
            assert_same(choose(batch[order]), expected, lambda x, order=order: x[order])
        assert_same(choose(batch.reshape(4, 74)), expected, lambda x: x.reshape(4, 74))


def padded(batch, num_rows, num_columns):
    """`batch` with rows and columns of masked candidates, whose values and identities are those of others."""
    widths = ((0, num_rows), (0, num_columns))
    filled = [jnp.pad(x, widths, constant_values=fill) for x, fill in ((batch.x, 7), (batch.y, jnp.nan))]
    masks = [
        jnp.pad(x, widths, constant_values=fill) for x, fill in ((batch.mask, False), (batch.among, True))
    ]
    return Case(
        *filled, *masks, *(jnp.pad(x, widths, mode="edge") for x in (batch.sequence_id, batch.position))
    )


@pytest.mark.parametrize("name", ["random", "ties", "not finite"])
def test_padding_changes_nothing(name, key):
    batch, selector, num_rows, num_columns = case(name), SELECTORS["xla"], 3, 5
    for choose in (
        lambda b: largest(selector, b, jnp.int32(23)),
        lambda b: uniform(selector, b, jnp.int32(7), key),
    ):
        got, expected = choose(padded(batch, num_rows, num_columns)), choose(batch)
        # Nothing, or a score of zero, at every token that was added.
        assert_same(got, expected, lambda x: np.pad(x, ((0, num_rows), (0, num_columns))))


@pytest.mark.parametrize("num_devices", [*(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2, 4)), 8])
def test_any_number_of_devices_chooses_the_same_tokens(num_devices, key):
    selector, rows = on_devices(num_devices)
    for name in ("random", "ties", "not finite"):
        batch = case(name)
        sharded = jax.device_put(batch, rows)
        expected = largest(SELECTORS["xla"], batch, jnp.int32(23))
        assert_same(largest(selector, sharded, jnp.int32(23)), expected)
        expected = uniform(SELECTORS["xla"], batch, jnp.int32(7), key)
        assert_same(uniform(selector, sharded, jnp.int32(7), key), expected)


def test_the_kernel_counts_on_each_device_of_a_mesh():
    selector, rows = on_devices(2, histogram=SELECTORS["mosaic"].histogram)
    batch = case("ties")
    expected = largest(SELECTORS["xla"], batch, jnp.int32(23))
    with no_races(selector.histogram):
        assert_same(largest(selector, jax.device_put(batch, rows), jnp.int32(23)), expected)


def test_broadcast_identities_are_those_of_every_token(key):
    batch = case("ties")
    identity = TokenIdentity(sequence_id=batch.sequence_id[:, :1], position=batch.position[:1])

    @jax.jit
    def choose(b):
        return SELECTORS["xla"].largest(b.x, b.y, b.mask, k=jnp.int32(23), identity=identity, **DESCRIPTION)

    assert_same(choose(batch), largest(SELECTORS["xla"], batch, jnp.int32(23)))


def test_the_choice_is_the_same_in_64_bit_mode(key):
    batch = case("ties")
    expected = [
        largest(SELECTORS["xla"], batch, jnp.int32(23)),
        uniform(SELECTORS["xla"], batch, jnp.int32(7), key),
    ]
    with jax.enable_x64(True):
        assert_same(largest(SELECTORS["xla"], batch, jnp.int32(23)), expected[0])
        assert_same(uniform(SELECTORS["xla"], batch, jnp.int32(7), key), expected[1])


def test_a_long_quantile_is_an_error():
    batch = case("random")
    with pytest.raises(ValueError, match="short decimal"):
        jax.eval_shape(lambda b: CovarianceSelector().distribution(b.x, b.mask, quantiles=(1 / 3,)), batch)

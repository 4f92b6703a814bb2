"""Every implementation against the reference in float64. An implementation joins by one line of the table."""

import jax
import numpy as np
import pytest

from pallas_kernels.sharding import Shards
from pallas_kernels.token_statistics import XLATiles, token_statistics
from tests.kernels.token_statistics.cases import make_case, outcome, outcome_in_float64, relative_error
from tests.kernels.token_statistics.test_mosaic import MOSAIC
from tests.kernels.token_statistics.test_triton import TRITON

IMPLEMENTATIONS = {
    "xla": XLATiles(max_tile_bytes=4 * 17 * 30, min_width=1, max_kept_bytes=0),
    "xla, logits kept": XLATiles(max_tile_bytes=4 * 17 * 30, min_width=1),
    "mosaic": MOSAIC,
    "triton": TRITON,
}
VALUE_TOLERANCE = {"float32": 1e-5, "bfloat16": 2e-3}
GRADIENT_TOLERANCE = {"float32": 1e-4, "bfloat16": 1e-2}
"""By norm; bf16 rounds the gradient of the logits before the products."""

every_implementation = pytest.mark.parametrize("name", IMPLEMENTATIONS)


def check(case, **how):
    got, want = outcome(case, **how), outcome_in_float64(case)
    dtype = case.hidden_TD.dtype.name
    for x, y in zip(got[:2], want[:2], strict=True):
        assert x.dtype == np.float32
        np.testing.assert_allclose(x, y, atol=VALUE_TOLERANCE[dtype], rtol=0)
    for x, y, operand in zip(got[2:], want[2:], (case.hidden_TD, case.head), strict=True):
        assert x.dtype == operand.dtype
        assert relative_error(x, y) < GRADIENT_TOLERANCE[dtype]


@every_implementation
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("vocab_axis", [0, 1])
@pytest.mark.parametrize("temperature", [pytest.param(1.0, marks=pytest.mark.slow), 0.6])
def test_values_and_gradients(name, dtype, vocab_axis, temperature):
    case = make_case(17, 7, 131, dtype=dtype, vocab_axis=vocab_axis, temperature=temperature)
    check(case, implementation=IMPLEMENTATIONS[name])


@every_implementation
@pytest.mark.parametrize("vocab_axis", [0, 1])
def test_one_token(name, vocab_axis):
    check(make_case(1, 7, 131, vocab_axis=vocab_axis), implementation=IMPLEMENTATIONS[name])


@every_implementation
@pytest.mark.parametrize("vocab_axis", [0, 1])
@pytest.mark.parametrize("num_phantom", [*(pytest.param(n, marks=pytest.mark.slow) for n in (1, 40)), 127])
def test_phantom_columns_that_hold_nan_change_nothing(name, vocab_axis, num_phantom):
    case = make_case(17, 7, 131, vocab_axis=vocab_axis, num_phantom=num_phantom)
    got = outcome(case, implementation=IMPLEMENTATIONS[name])
    valid = case.options["valid_vocab_size"]
    clean = case._replace(
        head=np.take(case.head, range(valid), vocab_axis), options=case.options | {"valid_vocab_size": None}
    )
    want = outcome_in_float64(clean)
    np.testing.assert_allclose(got[0], want[0], atol=1e-5, rtol=0)
    np.testing.assert_allclose(got[1], want[1], atol=1e-5, rtol=0)
    assert relative_error(got[2], want[2]) < 1e-4
    head_bar, phantom_bar = np.split(got[3], [valid], vocab_axis)
    assert relative_error(head_bar, want[3]) < 1e-4
    assert not phantom_bar.any()


@every_implementation
def test_a_dominant_logit_gives_zero_entropy_and_finite_gradients(name):
    case = make_case(3, 7, 131, logit_std=3000.0)
    logp_T, entropy_T, *gradients = outcome(case, implementation=IMPLEMENTATIONS[name])
    assert np.isfinite(logp_T).all() and (entropy_T < 1e-6).all()
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@every_implementation
@pytest.mark.parametrize("vocab_axis", [0, 1])
@pytest.mark.parametrize("num_phantom", [pytest.param(0, marks=pytest.mark.slow), 90])
def test_tokens_and_vocabulary_cut_over_a_mesh(name, vocab_axis, num_phantom):
    """With 90 phantom columns of 136, one of four devices holds no valid column at all."""
    mesh = jax.make_mesh((2, 4), ("data", "tensor"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    shards = Shards(mesh=mesh, tokens=("data",), vocabulary="tensor")
    case = make_case(34, 7, 136, vocab_axis=vocab_axis, num_phantom=num_phantom)
    got = outcome(case, implementation=IMPLEMENTATIONS[name], shards=shards)
    want = outcome(case, implementation=IMPLEMENTATIONS[name])
    np.testing.assert_allclose(got[0], want[0], atol=2e-6, rtol=0)
    np.testing.assert_allclose(got[1], want[1], atol=2e-6, rtol=0)
    assert relative_error(got[2], want[2]) < 2e-6
    assert relative_error(got[3], want[3]) < 2e-6


@pytest.mark.parametrize("vocab_axis", [0, 1])
def test_the_gradient_of_a_head_kept_in_shards_is_scattered_over_them(vocab_axis):
    axes = ("data", "fsdp", "tensor")
    mesh = jax.make_mesh((2, 2, 2), axes, axis_types=(jax.sharding.AxisType.Auto,) * 3)
    shards = Shards(mesh=mesh, tokens=("data", "fsdp"), vocabulary="tensor", hidden="fsdp")
    case = make_case(44, 14, 134, vocab_axis=vocab_axis)
    got, want = outcome(case, shards=shards), outcome(case)
    for mine, theirs in zip(got, want, strict=True):
        assert relative_error(mine, theirs) < 2e-6
    spec = jax.P("tensor", "fsdp") if vocab_axis == 0 else jax.P("fsdp", "tensor")
    head = jax.device_put(case.head, jax.NamedSharding(mesh, spec))

    def loss(head):
        how = dict(vocab_axis=vocab_axis, shards=shards)
        return token_statistics(case.hidden_TD, head, case.label_T, **how)[0].sum()

    program = jax.jit(jax.grad(loss)).lower(head).compile()
    assert program.output_shardings.spec == spec
    assert program(head).dtype == head.dtype


def test_a_wide_head_gets_a_wide_gradient_from_narrow_products():
    case = make_case(13, 7, 131, dtype="bfloat16")
    wide = case.head.astype("float32") * 1.001  # no bfloat16 number any more

    def loss(head):
        return token_statistics(case.hidden_TD, head, case.label_T)[0].sum()

    got, want = jax.grad(loss)(wide), jax.grad(loss)(wide.astype("bfloat16"))
    assert got.dtype == wide.dtype and want.dtype == "bfloat16"
    assert relative_error(np.asarray(got), np.asarray(want)) < 1e-2


@pytest.mark.parametrize("vocab_axis", [0, 1])
def test_gradients_of_bf16_add_up_over_eight_devices(vocab_axis):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    case = make_case(136, 7, 131, dtype="bfloat16", vocab_axis=vocab_axis)
    check(case, shards=Shards(mesh=mesh, tokens=("data",)))


def test_a_hidden_dimension_cut_over_an_axis_that_cuts_no_tokens_is_refused():
    mesh = jax.make_mesh((2,), ("fsdp",))
    with pytest.raises(ValueError, match="must be one of those that cut tokens.*got 'fsdp' and"):
        Shards(mesh=mesh, tokens=(), hidden="fsdp")

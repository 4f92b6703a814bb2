import jax
import numpy as np
import pytest

from entropy_rl.models import parameters as pm
from tests.models.families import QWEN2, QWEN3, both_families


@both_families
def test_the_model_has_exactly_the_parameters_of_the_table(policy, config):
    shapes = jax.tree.map(lambda leaf: leaf.shape, policy.abstract_params())
    assert shapes == pm.tree({row.path: row.shape(config) for row in pm.parameters(config)})


@both_families
def test_logical_axes_have_the_structure_of_the_parameters(policy, config):
    axes = pm.logical_axes(config)
    is_axes = lambda node: isinstance(node, tuple)  # noqa: E731
    assert jax.tree.structure(axes, is_leaf=is_axes) == jax.tree.structure(policy.abstract_params())
    assert axes["layers"]["query"] == ("layers", "embed", "heads", "head_dim")


def test_query_and_key_norms_take_the_place_of_biases():
    paths = [{row.path for row in pm.parameters(config)} for config in (QWEN2, QWEN3)]
    assert paths[0] - paths[1] == {"layers.query_bias", "layers.key_bias", "layers.value_bias"}
    assert paths[1] - paths[0] == {"layers.query_norm", "layers.key_norm"}


@pytest.mark.parametrize("row", pm.TABLE.values(), ids=pm.TABLE)
def test_layouts_round_trip(row, config):
    tensor = np.random.default_rng(0).normal(size=row.hf_shape(config))
    ours = row.from_hf(tensor, config)
    assert ours.shape == row.layer_shape(config)
    np.testing.assert_array_equal(row.to_hf(ours, config), tensor)


@pytest.mark.parametrize(
    "path, product",
    [("layers.query", "d,dnh->nh"), ("layers.output", "nh,nhd->d"), ("layers.down", "f,fd->d")],
)
def test_a_kernel_in_our_layout_does_what_the_matrix_of_outputs_by_inputs_does(path, product, config):
    row = pm.TABLE[path]
    matrix = np.random.default_rng(0).normal(size=row.hf_shape(config))
    x = np.random.default_rng(1).normal(size=matrix.shape[1])
    kernel = row.from_hf(matrix, config)
    inputs = x.reshape(kernel.shape[: product.index(",")])
    np.testing.assert_allclose(np.einsum(product, inputs, kernel).ravel(), matrix @ x, rtol=1e-12)

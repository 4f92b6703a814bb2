"""The optimiser's moments are cut as their parameters are, and stay so: one program serves all updates."""

from dataclasses import replace

import jax
import numpy as np
import optax
import pytest

from entropy_rl.kernel_choice import Kernels
from entropy_rl.models.parameters import logical_axes
from entropy_rl.models.policy import Policy
from entropy_rl.objectives import KLCov
from entropy_rl.parallelism import MeshConfig, batch_sharding, parameter_shardings
from entropy_rl.training import learner as learning
from entropy_rl.training import warm_start as warm
from entropy_rl.training.layout import Padded
from entropy_rl.training.learner import Learner
from entropy_rl.training.optimizer import Adafactor, AdamW
from entropy_rl.training.warm_start import Demonstrations, WarmStart, warm_start
from tests.policies import TINY
from tests.training.cases import make_batch

SIZES = dict(vocab_size=130, hidden_size=128, intermediate_size=22, num_heads=4, num_kv_heads=2, num_layers=1)
"""Adafactor factors what has two dimensions of at least 128: the embedding, and nothing else."""
ARCHITECTURE = replace(TINY, **SIZES)
MESH = MeshConfig(fsdp=2, tensor=2)
OPTIMIZERS = {
    "AdamW": AdamW(),
    "AdamW in 16 bits": AdamW(first_moment_dtype="bfloat16", second_moment_dtype="bfloat16"),
    "Adafactor": Adafactor(),
}
each_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
one_optimizer_and_slowly_each = pytest.mark.parametrize(
    "optimizer",
    [
        pytest.param(optimizer, marks=[] if name == "AdamW" else pytest.mark.slow, id=name)
        for name, optimizer in OPTIMIZERS.items()
    ],
)
"""For what is compiled for long."""


@pytest.fixture(scope="module")
def mesh():
    return MESH.build()


@pytest.fixture(scope="module")
def policy(mesh):
    return Kernels.of(mesh, ARCHITECTURE, "float32").equip(Policy(ARCHITECTURE))


@pytest.fixture
def params(policy, mesh):
    params = policy.init(jax.random.key(0))
    return jax.device_put(params, parameter_shardings(mesh, logical_axes(ARCHITECTURE), params))


def make_learner(policy, optimizer) -> Learner:
    return Learner(policy=policy, objective=KLCov(fraction=0.2), optimizer=optimizer, layout=Padded())


def assert_moments_lie_as(opt_state, params, optimizer):
    """Of every parameter: those of its shape as it does, all others whole."""
    names = ("v", "v_row", "v_col") if isinstance(optimizer, Adafactor) else ("mu", "nu")
    lying_as, whole = 0, 0
    for name in names:
        moments = optax.tree_utils.tree_get(opt_state, name)
        for moment, param in zip(jax.tree.leaves(moments), jax.tree.leaves(params), strict=True):
            if moment.shape == param.shape:
                assert moment.sharding.is_equivalent_to(param.sharding, param.ndim), name
                lying_as += not param.sharding.is_fully_replicated
            else:
                assert moment.sharding.is_fully_replicated and moment.sharding.num_devices == 4
                whole += moment.size > 1
    assert lying_as > 3
    assert whole == (2 if isinstance(optimizer, Adafactor) else 0)  # a row and a column of the embedding


def shardings(tree):
    return [x.sharding for x in jax.tree.leaves(tree)]


@each_optimizer
def test_moments_lie_where_their_parameters_do(policy, params, optimizer):
    state = make_learner(policy, optimizer).init(params)
    assert_moments_lie_as(state.opt_state, state.params, optimizer)


@one_optimizer_and_slowly_each
def test_an_update_leaves_the_state_as_it_found_it_and_is_compiled_once(policy, params, mesh, optimizer):
    learner = make_learner(policy, optimizer)
    state, before = learner.init(params), learning._update._cache_size()
    laid = shardings(state)
    batch = replace(make_batch(ARCHITECTURE.vocab_size, on_policy=False), ref_logp_PGT=None)
    placement = batch_sharding(mesh)
    batch = jax.tree.map(lambda x: jax.device_put(x, placement) if x.ndim else x, batch)
    for _ in range(3):
        state, _ = learner.update(state, batch, jax.random.key(5))
        assert shardings(state) == laid
    assert learning._update._cache_size() == before + 1
    assert_moments_lie_as(state.opt_state, state.params, optimizer)


@one_optimizer_and_slowly_each
def test_a_warm_start_lays_its_state_alike_and_compiles_one_update(
    policy, params, mesh, optimizer, monkeypatch
):
    states, update, laid = [], warm._update, shardings(params)
    monkeypatch.setattr(warm, "_update", lambda *args: states.append(shardings(args[2])) or update(*args))
    before = update._cache_size()
    ids_NS, ids_NT = np.ones((7, 3), np.int32), np.full((7, 2), 2, np.int32)
    trained = warm_start(
        policy,
        params,
        Demonstrations(
            prompt_ids_NS=ids_NS,
            prompt_mask_NS=ids_NS > 0,
            completion_ids_NT=ids_NT,
            completion_mask_NT=ids_NT > 0,
        ),
        WarmStart(num_steps=3, batch_size=4, optimizer=optimizer),
        seed=0,
        placement=batch_sharding(mesh),
    )
    assert update._cache_size() == before + 1
    assert states == [states[0]] * 3
    assert all(sharding.num_devices == 4 for sharding in states[0])
    for sharding, expected, param in zip(shardings(trained), laid, jax.tree.leaves(trained), strict=True):
        assert sharding.is_equivalent_to(expected, param.ndim)


@each_optimizer
def test_a_warm_start_s_moments_lie_where_their_parameters_do(policy, params, optimizer):
    params, opt_state = warm._init(policy, optimizer, params)
    assert_moments_lie_as(opt_state, params, optimizer)

"""Rollouts on meshes: the tokens of one device, arrays cut as the table says, nothing gathered in vain."""

import math
import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from entropy_rl.kernel_choice import Kernels
from entropy_rl.models.parameters import logical_axes
from entropy_rl.parallelism import SAMPLING_RULES, MeshConfig, batch_sharding, parameter_shardings
from entropy_rl.sampler import Sampler, Sampling, wave
from tests.policies import TINY, tiny_policy

CONFIG = replace(
    TINY,
    vocab_size=46,
    hidden_size=26,
    intermediate_size=34,
    num_heads=4,
    num_kv_heads=2,
    tie_embeddings=False,
)
PROMPTS, SAMPLES, PROMPT_TOKENS, NEW_TOKENS = 4, 2, 7, 11
ALL = MeshConfig(data=2, fsdp=2, tensor=2)
ROWS = ("data", "fsdp")


def prompts(num=PROMPTS):
    rng = np.random.default_rng(0)
    length_P = rng.integers(1, PROMPT_TOKENS + 1, num)
    mask_PS = np.arange(PROMPT_TOKENS)[None] >= PROMPT_TOKENS - length_P[:, None]
    ids_PS = np.where(mask_PS, rng.integers(1, CONFIG.vocab_size, mask_PS.shape), 0).astype(np.int32)
    return jnp.asarray(ids_PS), jnp.asarray(mask_PS), jnp.arange(num, dtype=jnp.int32) + 100


def on_mesh(mesh_config, compute_dtype="float32", **changes):
    """(sampler, parameters as training keeps them, prompts), all on the mesh."""
    policy, params = tiny_policy(config=CONFIG)
    mesh = mesh_config.build()
    policy = Kernels.of(mesh, CONFIG, compute_dtype).equip(replace(policy, compute_dtype=compute_dtype))
    shardings = parameter_shardings(mesh, logical_axes(CONFIG), params)
    settings = dict(sampling=Sampling(), stop_ids=(4, 9), pad_id=0, num_samples=SAMPLES) | changes
    sampler = Sampler(policy=policy, max_new_tokens=NEW_TOKENS, **settings)
    return sampler, jax.device_put(params, shardings), jax.device_put(prompts(), batch_sharding(mesh))


def cut(x, *spec):
    """Whether an array of the mesh ALL lies so."""
    return x.sharding.is_equivalent_to(NamedSharding(ALL.build(), PartitionSpec(*spec)), x.ndim)


@pytest.fixture(scope="module")
def alone():
    """The rollout of one device, and what its logits looked like."""
    return watched(*on_mesh(MeshConfig(), sampling=Sampling(min_new_tokens=2), watches_logits=True))


def watched(sampler, params, arrays):
    """(Rollout, health) of the prompts under the parameters of training."""
    seen = []
    working = sampler.working_params(params)
    rollout = sampler(working, *arrays, jax.random.key(0), on_health=seen.append)
    return rollout, seen[0]


@pytest.mark.parametrize(
    ("mesh_config", "prompts_per_wave"),
    [
        (ALL, None),
        (MeshConfig(data=2), 2),
        pytest.param(MeshConfig(fsdp=2, tensor=2), 2, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_a_mesh_draws_the_tokens_of_one_device_in_waves_or_at_once(mesh_config, prompts_per_wave, alone):
    alone, health_alone = alone
    on_it = on_mesh(
        mesh_config,
        prompts_per_wave=prompts_per_wave,
        sampling=Sampling(min_new_tokens=2),
        watches_logits=True,
    )
    rollout, health = watched(*on_it)
    np.testing.assert_array_equal(rollout.response_ids_PGT, alone.response_ids_PGT)
    np.testing.assert_array_equal(rollout.response_mask_PGT, alone.response_mask_PGT)
    np.testing.assert_allclose(rollout.logp_PGT, alone.logp_PGT, atol=1e-5)
    assert health.num_draws == health_alone.num_draws == rollout.response_mask_PGT[:, 0].sum()
    np.testing.assert_allclose(health.sum_N, health_alone.sum_N, rtol=1e-5)
    for leaf in jax.tree.leaves(rollout):
        assert leaf.sharding.is_equivalent_to(batch_sharding(mesh_config.build()), leaf.ndim)


def test_keys_values_and_token_state_are_cut_by_prompts_and_heads(key):
    sampler, params, arrays = on_mesh(ALL)
    working = sampler.working_params(params)
    started, responses = wave.prefill_wave(sampler, working, *arrays, key)
    cache = wave.empty_segment(sampler, PROMPTS, NEW_TOKENS - 1)
    cache, responses, all_done = wave.decode_call(sampler, working, started, (), cache, responses, 3)
    assert responses.num_drawn == 3
    for keys in (cache.k_LPKGCH, cache.v_LPKGCH, started.prefix.k_LPKSH, started.prefix.v_LPKSH):
        assert cut(keys, None, ROWS, "tensor")
    assert cut(started.uniform_2BT, None, ROWS) and cut(started.prefix.mask_PS, ROWS)
    for name in ("ids_BT", "mask_BT", "behavior_logp_BT", "logp_BT", "done_B"):
        assert cut(getattr(responses, name), ROWS), name
    assert all_done.is_fully_replicated


def test_working_parameters_are_cast_as_training_casts_them_and_whole_over_fsdp():
    sampler, params, _ = on_mesh(ALL, "bfloat16")
    working = sampler.working_params(params)
    shardings = parameter_shardings(ALL.build(), logical_axes(CONFIG), params, SAMPLING_RULES)
    for (path, leaf), sharding in zip(
        jax.tree.leaves_with_path(working), jax.tree.leaves(shardings), strict=True
    ):
        assert leaf.sharding.is_equivalent_to(sharding, leaf.ndim), path
        assert leaf.dtype == ("float32" if "norm" in path[-1].key else "bfloat16"), path
    np.testing.assert_array_equal(
        np.asarray(working["layers"]["gate"]), np.asarray(params["layers"]["gate"].astype("bfloat16"))
    )


@pytest.mark.parametrize("mesh_config", [MeshConfig(), MeshConfig(data=2, tensor=2)], ids=str)
def test_working_parameters_are_the_parameters_themselves_where_nothing_would_change(mesh_config):
    sampler, params, _ = on_mesh(mesh_config)
    assert sampler.working_params(params) is params


def test_decoding_gathers_nothing_larger_than_a_number_for_each_sequence(key):
    sampler, params, arrays = on_mesh(ALL)

    def largest_gather(params):
        """Numbers in the largest result of an all-gather in the compiled program."""
        started, responses = wave.prefill_wave(sampler, params, *arrays, key)
        cache = wave.empty_segment(sampler, PROMPTS, NEW_TOKENS - 1)
        program = wave.decode_call.lower(sampler, params, started, (), cache, responses, 3).compile()
        shapes = re.findall(r"= \w+\[([\d,]*)\]\S* all-gather", program.as_text())
        return max((math.prod(int(size) for size in shape.split(",")) for shape in shapes), default=0)

    assert largest_gather(sampler.working_params(params)) <= PROMPTS * SAMPLES
    assert largest_gather(params) >= params["layers"]["gate"][0].size // 2  # so the test can fail


def test_a_wave_that_the_mesh_cannot_cut_is_refused():
    with pytest.raises(ValueError, match="prompts_per_wave"):
        on_mesh(ALL, prompts_per_wave=2)

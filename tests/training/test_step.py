"""All updates of a rollout: where mini-batches lie, what is known without a pass, what penalises when."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from entropy_rl.models.parameters import logical_axes
from entropy_rl.objectives import ClipCov, KLCov, PPOClip
from entropy_rl.parallelism import MeshConfig, batch_sharding, parameter_shardings
from entropy_rl.training.layout import Padded, join, split
from entropy_rl.training.learner import Learner
from entropy_rl.training.optimizer import AdamW
from entropy_rl.training.step import learn
from tests.policies import TINY, tiny_policy
from tests.training.cases import make_batch, make_rollout

MESH = MeshConfig(data=2, fsdp=1)


def make_learner(policy, penalty_coef: float = 1.0) -> Learner:
    return Learner(
        policy=policy,
        objective=KLCov(fraction=0.3, penalty_coef=penalty_coef),
        optimizer=AdamW(learning_rate=1e-2),
        layout=Padded(),
    )


def learned(learner, params, rollout):
    """`learn` with updates of 2 prompts everywhere: one shape, compiled once."""
    adv_PG = make_batch(TINY.vocab_size, on_policy=True).adv_PG[: len(rollout.prompt_id_P)]
    adv_PG = jax.device_put(adv_PG, rollout.prompt_ids_PS.sharding)
    return learn(learner, learner.init(params), rollout, adv_PG, jax.random.key(3), prompts_per_update=2)[:2]


def first_prompts(rollout, num: int):
    return jax.tree.map(lambda x: x[:num], rollout)


@pytest.mark.slow
def test_minibatches_lie_on_the_devices_as_the_rollout_does(monkeypatch):
    policy, params = tiny_policy()
    mesh, seen, update = MESH.build(), [], Learner.update

    def spy(self, state, batch, key, *, packing):
        seen.extend(x.sharding for x in jax.tree.leaves(batch.rollout))
        return update(self, state, batch, key, packing=packing)

    monkeypatch.setattr(Learner, "update", spy)
    rollout = jax.device_put(make_rollout(TINY.vocab_size), batch_sharding(mesh))
    placed = jax.device_put(params, parameter_shardings(mesh, logical_axes(TINY), params))
    learner = make_learner(policy)
    _, sharded = learned(learner, placed, rollout)
    assert seen and {sharding.spec for sharding in seen} == {batch_sharding(mesh).spec}
    _, alone = learned(learner, tiny_policy()[1], make_rollout(TINY.vocab_size))
    for name, value in alone.items():
        np.testing.assert_allclose(sharded[name], value, atol=1e-5, err_msg=name)


def test_microbatches_of_a_sharded_batch_are_cut_on_every_device():
    mesh = MESH.build()
    x_BT = jax.device_put(jnp.arange(8 * 3).reshape(8, 3), batch_sharding(mesh))
    parts = jax.jit(lambda x: split(x, 2))(x_BT)
    assert {shard.data.shape for shard in parts.addressable_shards} == {(2, 2, 3)}
    np.testing.assert_array_equal(join(parts), x_BT)


def test_split_keeps_the_samples_of_a_prompt_together_and_join_undoes_it():
    prompt_B = jnp.repeat(jnp.arange(6), 5)
    parts = split(prompt_B, 3, 5)
    assert [sorted(set(part)) for part in parts.tolist()] == [[0, 3], [1, 4], [2, 5]]
    np.testing.assert_array_equal(join(parts, 5), prompt_B)


@pytest.mark.slow
def test_the_penalty_acts_from_the_second_update_on():
    policy, rollout = tiny_policy()[0], make_rollout(TINY.vocab_size)
    for num_prompts, expected in ((2, False), (4, True)):  # one update, and two
        part = first_prompts(rollout, num_prompts)
        with_penalty, without = (
            learned(make_learner(policy, coef), tiny_policy()[1], part)[0].params for coef in (1.0, 0.0)
        )
        pairs = zip(*map(jax.tree.leaves, (with_penalty, without)), strict=True)
        assert any(bool((a != b).any()) for a, b in pairs) == expected


def test_one_update_needs_no_pass_for_old_log_probs(monkeypatch):
    calls = []
    monkeypatch.setattr(Learner, "log_probs", lambda *_: calls.append(1))
    learned(make_learner(tiny_policy()[0]), tiny_policy()[1], first_prompts(make_rollout(TINY.vocab_size), 2))
    assert calls == []


@pytest.mark.parametrize(
    ("objective", "num_microbatches", "old_logp", "selection", "saved"),
    [
        (KLCov(fraction=0.3), 1, 1, 0, 1),
        pytest.param(KLCov(fraction=0.3), 2, 1, 1, 2, marks=pytest.mark.slow),
        pytest.param(ClipCov(fraction=0.3, cov_low=0.1), 2, 2, 1, 1, marks=pytest.mark.slow),
        pytest.param(PPOClip(), 2, 1, 0, 1, marks=pytest.mark.slow),
    ],
)
def test_passes_made_and_saved_in_two_updates_are_counted(
    objective, num_microbatches, old_logp, selection, saved
):
    learner = replace(
        make_learner(tiny_policy()[0]), objective=objective, layout=Padded(num_microbatches=num_microbatches)
    )
    _, metrics = learned(learner, tiny_policy()[1], make_rollout(TINY.vocab_size))
    counts = [metrics[f"passes/{name}"] for name in ("old_logp", "selection", "saved")]
    assert counts == [old_logp, selection, saved]


def test_updates_skipped_in_a_row_are_seen_even_when_a_good_one_follows():
    learner = make_learner(tiny_policy()[0])
    rollout = jax.tree.map(lambda x: jnp.concatenate([x, x]), make_rollout(TINY.vocab_size))
    adv_PG = jnp.tile(make_batch(TINY.vocab_size, on_policy=True).adv_PG, (2, 1))
    adv_PG = adv_PG.at[:6].set(jnp.nan)  # three of four updates of two prompts each
    state = learner.init(tiny_policy()[1])
    state, metrics, _ = learn(learner, state, rollout, adv_PG, jax.random.key(3), prompts_per_update=2)
    assert metrics["optimizer/skipped_in_a_row"] == metrics["optimizer/skipped_updates"] == 3
    assert int(state.num_skipped_in_a_row) == 0


def test_the_second_moment_stays_f32_beside_bf16_parameters_and_first_moment():
    policy, params = tiny_policy()
    learner = replace(make_learner(policy), optimizer=AdamW(first_moment_dtype="bfloat16"))
    state = learner.init(jax.tree.map(lambda x: x.astype(jnp.bfloat16), params))
    adam = state.opt_state[1][0]
    assert {x.dtype for x in jax.tree.leaves(adam.mu)} == {jnp.dtype("bfloat16")}
    assert {x.dtype for x in jax.tree.leaves(adam.nu)} == {jnp.dtype("float32")}
    state, _ = learner.update(state, make_batch(TINY.vocab_size, on_policy=True), jax.random.key(0))
    assert {x.dtype for x in jax.tree.leaves(state.params)} == {jnp.dtype("bfloat16")}
    assert {x.dtype for x in jax.tree.leaves(state.opt_state[1][0].mu)} == {jnp.dtype("bfloat16")}

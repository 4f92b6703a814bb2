"""Policies in folders: what is written is read again, whatever devices saved it."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from entropy_rl.config import PolicyConfig
from entropy_rl.data.tokenizers import countdown_tokenizer
from entropy_rl.models.parameters import logical_axes
from entropy_rl.objectives import PPOClip
from entropy_rl.parallelism import MeshConfig, parameter_shardings
from entropy_rl.starting_policy import starting_policy
from entropy_rl.stored_policy import StoredPolicy, read_policy, save_policy, save_skeleton
from entropy_rl.training.checkpoint import Checkpoints, Progress
from entropy_rl.training.learner import Learner
from entropy_rl.training.optimizer import AdamW
from tests.policies import TINY, tiny_policy
from tests.runs import make_config


@pytest.fixture
def stored() -> StoredPolicy:
    """A policy whose tokenizer stops at two ids, as chat models do."""
    policy, params = tiny_policy()
    return StoredPolicy(
        policy=policy, params=params, tokenizer=replace(countdown_tokenizer(), stop_ids=(1, 5))
    )


def assert_equal(tree, other):
    jax.tree.map(
        np.testing.assert_array_equal, jax.tree.map(np.asarray, tree), jax.tree.map(np.asarray, other)
    )


def test_a_saved_policy_keeps_parameters_and_every_stop_id(stored, tmp_path):
    save_policy(stored, tmp_path / "policy")
    again = read_policy(tmp_path / "policy")
    assert again.tokenizer.stop_ids == (1, 5) and again.policy.config == TINY
    assert_equal(again.params, stored.params)


def test_a_folder_must_hold_the_architecture_that_was_announced(stored, tmp_path):
    save_policy(stored, tmp_path / "policy")
    announced = PolicyConfig(directory=tmp_path / "policy", architecture=stored.policy.config)
    config = replace(make_config(tmp_path), policy=announced, warm_start=None)
    assert_equal(starting_policy(config).params, stored.params)
    larger = replace(announced, architecture=replace(stored.policy.config, num_layers=23))
    with pytest.raises(ValueError, match="announced.*num_layers=23"):
        starting_policy(replace(config, policy=larger))


def test_a_folder_that_holds_something_is_not_written_over(stored, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="empty"):
        save_policy(stored, tmp_path)


def test_the_checkpoint_of_a_sharded_run_is_read_on_one_device(stored, tmp_path):
    mesh = MeshConfig(data=2, tensor=3).build()
    config = replace(TINY, intermediate_size=18, vocab_size=24)
    policy, params = tiny_policy(config=config)
    sharded = jax.device_put(params, parameter_shardings(mesh, logical_axes(config), params))
    expected = jax.tree.map(np.asarray, params)
    state = Learner(policy=policy, objective=PPOClip(), optimizer=AdamW()).init(sharded)
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=1)
    progress = Progress(step=4, num_updates=8, num_gen_batches=4, seed=0, data_position={})
    checkpoints.save(state, progress)
    checkpoints.close()
    save_skeleton(replace(stored, policy=policy), tmp_path)
    again = read_policy(tmp_path, step=4)
    assert again.tokenizer.stop_ids == (1, 5)
    assert_equal(again.params, expected)
    assert read_policy(tmp_path, param_dtype="bfloat16").params["embedding"].dtype == jnp.bfloat16
    with pytest.raises(ValueError, match="steps"):
        read_policy(tmp_path, step=3)

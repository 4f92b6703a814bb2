"""Which responses are recorded, and that what is told of them is what the updates saw."""

import jax
import numpy as np
import pytest

from entropy_rl.models.parameters import logical_axes
from entropy_rl.objectives import KLCov
from entropy_rl.parallelism import MeshConfig, batch_sharding, parameter_shardings
from entropy_rl.training.chosen_rollouts import choose, chosen_responses
from entropy_rl.training.layout import Padded
from entropy_rl.training.learner import Learner
from entropy_rl.training.optimizer import AdamW
from entropy_rl.training.step import learn
from tests.policies import TINY, tiny_policy
from tests.training.cases import make_batch, make_rollout

RIGHT = np.array([[0, 0, 0], [1, 1, 1], [0, 1, 1], [1, 0, 0], [0, 1, 0]], bool)
FILLED = np.array([True, True, True, False, True])


def test_half_are_those_of_the_most_selected_tokens_then_right_and_wrong_ones_of_mixed_groups_then_others():
    num_selected = np.array([[0, 3, 0], [3, 0, 0], [0, 0, 1], [9, 9, 9], [0, 0, 0]])
    by_selection, pairs = [(0, 1), (1, 0), (2, 2)], [(2, 1), (2, 0), (4, 1), (4, 0)]
    assert choose(num_selected, RIGHT, FILLED, 6) == by_selection + pairs[:3]
    assert choose(num_selected, RIGHT, FILLED, 2) == [(0, 1), (2, 1)]
    everything = choose(num_selected, RIGHT, FILLED, 99)
    assert sorted(everything) == [(row, sample) for row in (0, 1, 2, 4) for sample in range(3)]
    # Where nothing is selected the half is the first ones.
    nothing_selected = choose(0 * num_selected, RIGHT, FILLED, 3)
    assert nothing_selected == [(0, 0), (0, 1), (2, 1)]


def test_of_groups_without_both_kinds_the_first_responses_come_first():
    alike = np.zeros((4, 2), bool)
    assert choose(alike.astype(int), alike, np.ones(4, bool), 5) == [
        (0, 0), (0, 1), (1, 0), (2, 0), (3, 0),
    ]  # fmt: skip


def test_rows_without_a_group_are_never_chosen():
    nothing = np.zeros(5, bool)
    assert choose(np.ones((5, 3), int), RIGHT, nothing, 4) == []


def seen_by(mesh: MeshConfig):
    """What two updates saw of a rollout on a mesh, by numpy too."""
    devices = mesh.build()
    learner = Learner(
        policy=tiny_policy()[0],
        objective=KLCov(fraction=0.3),
        optimizer=AdamW(learning_rate=1e-2),
        layout=Padded(),
    )
    params = jax.device_put(
        tiny_policy()[1], parameter_shardings(devices, logical_axes(TINY), tiny_policy()[1])
    )
    rollout, adv_PG = jax.device_put(
        (make_rollout(TINY.vocab_size), make_batch(TINY.vocab_size, on_policy=True).adv_PG),
        batch_sharding(devices),
    )
    _, metrics, seen = learn(
        learner, learner.init(params), rollout, adv_PG, jax.random.key(3), prompts_per_update=2
    )
    return metrics, seen, devices


@pytest.mark.parametrize(
    "mesh", [MeshConfig(), pytest.param(MeshConfig(data=2, fsdp=1), marks=pytest.mark.slow)]
)
def test_the_rows_that_reach_the_host_are_those_of_the_updates(mesh):
    metrics, seen, devices = seen_by(mesh)
    correct, filled = np.eye(4, 3, dtype=bool), np.ones(4, bool)
    responses = chosen_responses(seen, correct, filled, 12, devices)
    assert {(r.row, r.sample) for r in responses} == {
        (row, sample) for row in range(4) for sample in range(3)
    }
    for response in responses:
        part, at = seen[response.row // 2], (response.row % 2, response.sample)
        mask_T = np.asarray(part.rollout.response_mask_PGT)[at]
        assert response.update == response.row // 2
        assert response.prompt_id == int(part.rollout.prompt_id_P[response.row % 2])
        np.testing.assert_array_equal(response.ids_T, np.asarray(part.rollout.response_ids_PGT)[at][mask_T])
        for name in ("logp", "entropy", "covariance", "selected"):
            whole = np.asarray(getattr(part, f"{name}_PGT"))[at]
            np.testing.assert_array_equal(getattr(response, f"{name}_T"), whole[mask_T], err_msg=name)
    counts = [int(response.selected_T.sum()) for response in responses]
    assert sum(counts) == metrics["selection/selected"] > 0
    assert min(counts[:6]) >= max(counts[6:])
    covariance = np.concatenate([r.covariance_T for r in responses if r.update == 1])
    entropy = np.concatenate([r.entropy_T for r in responses])
    np.testing.assert_allclose(entropy.mean(), metrics["policy/entropy"], rtol=1e-5)
    assert covariance.max() <= metrics["covariance/max"]

"""Recorded rollouts of whole runs: they are what the numbers of the step are made of, and change nothing."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from entropy_rl.observability.metric_names import METRICS
from entropy_rl.observability.rollout_records import read_rollouts, recorded_steps
from entropy_rl.observability.run_record import RunRecord
from entropy_rl.recording import Recording
from entropy_rl.stored_policy import read_policy
from entropy_rl.train import train
from tests.runs import make_config, make_dynamic_config

NEVER = Recording(rollouts_every_steps=0, theory_every_steps=0)
MINE = (
    "entropy/",
    "covariance/",
    "selection/",
    "advantage/",
    "group/",
    "reward/groups_zero",
    "policy/surprisal",
)


@pytest.fixture(
    scope="module", params=["dynamic sampling", pytest.param("all groups", marks=pytest.mark.slow)]
)
def run(request, tmp_path_factory):
    """A run of which every response of each second step is recorded."""
    make = make_dynamic_config if request.param == "dynamic sampling" else make_config
    config = make(tmp_path_factory.mktemp("run"), evaluation=None, warm_start=None)
    train(config)
    return config, RunRecord.load(config.runs_folder / config.name)


def test_the_steps_that_are_due_are_recorded_with_all_their_responses(run):
    config, record = run
    assert recorded_steps(record.path) == [1, 2, 4, 6]
    for step in recorded_steps(record.path):
        responses = read_rollouts(record.path, step)
        assert len({(r.prompt_id, r.sample) for r in responses}) == len(responses)
        assert len(responses) == 3 * (4 - record.rows[step - 1].get("batch/missing_groups", 0)) > 0
        assert {r.step for r in responses} == {step}


def test_metrics_of_a_step_are_those_of_its_recorded_tokens(run):
    _, record = run
    for step in recorded_steps(record.path):
        row, responses = record.rows[step - 1], read_rollouts(record.path, step)
        entropy, logp, selected = (
            np.concatenate([getattr(r, name) for r in responses]) for name in ("entropy", "logp", "selected")
        )
        close = dict(rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(entropy.mean(), row["policy/entropy"], **close)
        np.testing.assert_allclose(-logp.mean(), row["policy/surprisal"], **close)
        np.testing.assert_allclose(entropy.max(), row["entropy/max"], **close)
        np.testing.assert_allclose(np.sort(entropy)[(len(entropy) - 1) // 2], row["entropy/q50"], **close)
        top = np.sort(entropy)[-max(len(entropy) // 5, 1) :]
        np.testing.assert_allclose(top.mean(), row["entropy/top_20_percent"], **close)
        assert selected.sum() == row["selection/selected"] > 0
        by_update = [
            np.concatenate([r.covariance for r in responses if r.update == update]) for update in (0, 1)
        ]
        tops = [np.sort(x)[-(len(x) // 2) :].mean() for x in by_update]
        np.testing.assert_allclose(np.mean(tops), row["covariance/top_50_percent"], **close)
        np.testing.assert_allclose(max(x.max() for x in by_update), row["covariance/max"], **close)
        advantages = np.array([r.advantage for r in responses])
        np.testing.assert_allclose(advantages.std(), row["advantage/std"], **close)
        if "staleness/group_fraction" in row:
            np.testing.assert_allclose(np.mean([r.stale for r in responses]), row["staleness/group_fraction"])
        else:
            assert np.mean([r.reward for r in responses]) == pytest.approx(row["reward/mean"])
            assert np.mean([r.truncated for r in responses]) == pytest.approx(
                row["length/truncated_fraction"]
            )


def test_a_record_is_whole_and_its_texts_are_those_of_its_tokens(run):
    config, record = run
    for response in read_rollouts(record.path, 2):
        lengths = {
            len(getattr(response, name)) for name in ("tokens", "token_ids", "entropy", "logp", "covariance")
        }
        assert lengths == {len(response.selected)} and response.prompt.endswith(":")
        text = "".join(response.tokens)
        assert text == response.response + ("" if response.truncated else "<end>")


def test_every_name_of_the_legend_about_tokens_groups_and_advantages_is_recorded(run):
    _, record = run
    names = {name for name in METRICS if name.startswith(MINE)} | {"reward/std", "reward/distinct_values"}
    assert len(names) > 40
    for row in record.rows:
        assert names <= set(row)
        assert all(np.isfinite(row[name]) for name in names)


def test_recording_changes_no_parameter_and_no_number(run, tmp_path):
    config, record = run
    never = replace(config, runs_folder=tmp_path, recording=NEVER)
    train(never)
    silent = RunRecord.load(tmp_path / config.name)
    assert recorded_steps(silent.path) == []
    only_looks = ("seconds/", "throughput/", "theory/")
    for row, other in zip(record.rows, silent.rows, strict=True):
        assert {n: x for n, x in row.items() if not n.startswith(only_looks)} == {
            n: x for n, x in other.items() if not n.startswith(only_looks)
        }
    trained = [read_policy(run.path).params for run in (record, silent)]
    pairs = zip(*map(jax.tree.leaves, trained), strict=True)
    assert all(np.array_equal(one, other) for one, other in pairs)

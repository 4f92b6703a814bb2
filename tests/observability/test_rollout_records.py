"""Recorded rollouts come back as they were written, and resuming drops later ones."""

from pathlib import Path

import pytest

from entropy_rl.observability.rollout_records import (
    RolloutRecord,
    read_rollouts,
    recorded_steps,
    write_rollouts,
)
from entropy_rl.observability.run_folder import RunFolder


def record(step: int, sample: int = 0) -> RolloutRecord:
    return RolloutRecord(
        step=step,
        prompt_id=7,
        sample=sample,
        prompt="7,12=19:",
        response="7+\u2028é",
        reward=1.0,
        correct=True,
        advantage=-0.5,
        truncated=False,
        stale=False,
        update=1,
        tokens=["7", "+", "\u2028é"],
        token_ids=[3, 11, 5],
        entropy=[0.5, 0.25, 0.0],
        logp=[-1.5, -0.25, -1e-6],
        covariance=[0.5, None, -0.125],
        selected=[True, False, False],
    )


def test_records_come_back_as_they_were_written(tmp_path: Path):
    written = [record(5, sample) for sample in range(3)]
    write_rollouts(tmp_path, 5, written)
    assert read_rollouts(tmp_path, 5) == written
    assert recorded_steps(tmp_path) == [5]


def test_a_step_that_recorded_none_is_not_found(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        read_rollouts(tmp_path, 3)


def test_resuming_drops_later_ones_and_overwriting_all(tmp_path: Path):
    with RunFolder.create(tmp_path, "run", {}) as run:
        for step in (1, 2, 3):
            run.record(step, {"policy/entropy": 1.0})
            write_rollouts(run.path, step, [record(step)])
    with RunFolder.create(tmp_path, "run", {}, resume_step=2) as run:
        assert recorded_steps(run.path) == [1, 2]
    with RunFolder.create(tmp_path, "run", {}, overwrite=True) as run:
        assert recorded_steps(run.path) == []

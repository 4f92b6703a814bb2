"""Every file in configs/ can be run as its docstring says, and the tiny ones can be compared."""

import ast
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from entropy_rl.config import PolicyConfig
from entropy_rl.config_file import load_config
from entropy_rl.objectives import ClipCov, KLCov, PPOClip
from entropy_rl.starting_policy import warm_start_folder

CONFIGS = sorted((Path(__file__).resolve().parents[1] / "configs").glob("*.py"))
TINY = [path for path in CONFIGS if path.stem.startswith("tiny_")]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_loads_from_any_folder_and_names_its_run_after_its_file(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_config(path).name == path.stem


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_says_how_it_is_run(path):
    command = f"python -m entropy_rl train --config configs/{path.name}"
    assert command in ast.get_docstring(ast.parse(path.read_text()))


def test_a_policy_computes_in_bfloat16_from_float32_parameters_unless_told_otherwise():
    policy = PolicyConfig(directory=Path("policies"))
    assert (policy.param_dtype, policy.compute_dtype) == ("float32", "bfloat16")


def test_the_tiny_runs_differ_in_their_objective_or_dynamic_sampling_alone():
    configs = {path.stem: load_config(path) for path in TINY}
    assert {name: type(config.objective) for name, config in configs.items()} == {
        "tiny_clip_cov": ClipCov,
        "tiny_dynamic": KLCov,
        "tiny_grpo": PPOClip,
        "tiny_kl_cov": KLCov,
    }
    shared = ("policy", "task", "optimizer", "batch", "sampling", "warm_start", "num_steps", "seed")
    for part in shared:
        assert len({getattr(config, part) for config in configs.values()}) == 1, part


def test_the_tiny_runs_share_one_cached_warm_start():
    assert len({warm_start_folder(load_config(path)) for path in TINY}) == 1


def test_all_processes_look_where_the_main_one_does_for_a_warm_start(monkeypatch, tmp_path):
    """A copied policy folder has other times on another machine."""
    (tmp_path / "config.json").write_text("{}")
    tiny = load_config(TINY[0])
    config = replace(tiny, policy=replace(tiny.policy, architecture=None, directory=tmp_path))
    of_main = warm_start_folder(config)
    os.utime(tmp_path / "config.json", ns=(7, 7))
    mine, seen = warm_start_folder(config), bytes.fromhex(of_main.name.removeprefix("warm-start-"))

    def share_with_main(digest):
        return np.stack([np.frombuffer(seen.ljust(len(digest)), np.uint8), digest])

    monkeypatch.setattr("entropy_rl.starting_policy.share", share_with_main)
    assert mine != of_main and warm_start_folder(config) == of_main


def test_the_default_job_leaves_something_to_learn_and_makes_several_updates_a_rollout():
    config = load_config(next(path for path in TINY if path.stem == "tiny_kl_cov"))
    assert config.task.right_demonstration_fraction < 0.5
    assert config.batch.updates_per_step >= 4

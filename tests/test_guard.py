"""Guards of a run: what they count, a warning, an end in order, going on; and an entropy that is held."""

import json
from dataclasses import replace

import pytest

from entropy_rl.commands.train import Train
from entropy_rl.guard import EXIT_COLLAPSED, Collapsed, CollapseGuard
from entropy_rl.objectives import PPOClip, Regularizer, TargetEntropyBonus
from entropy_rl.observability.run_record import read_rows
from entropy_rl.train import train
from entropy_rl.training.checkpoint import Progress
from entropy_rl.training.optimizer import AdamW
from tests.processes.job import EvenTask
from tests.runs import make_config

TIMES = ("seconds/", "throughput/")
ALWAYS = 4.0
"""More nats than 23 tokens can have: every step has collapsed."""


def test_steps_in_a_row_below_the_threshold_are_counted_and_steps_without_entropy_tell_nothing():
    guard = CollapseGuard(below_nats=0.5, for_steps=2)
    entropies = [0.4, 0.6, 0.4, None, 0.49, 0.3, 0.5]
    rows = [{"step": n} if n == 5 else {"policy/entropy": entropy} for n, entropy in enumerate(entropies)]
    found = [guard.count_again(rows[: n + 1]) for n in range(len(rows))]
    # 0.4 counts, 0.6 ends it, and so does a null (not finite); row 5 says nothing; 0.5 is not below.
    assert found == [1, 0, 1, 0, 1, 1, 0]
    assert guard.metrics(3) == {"guard/collapsed_steps": 3}


def test_a_guard_that_is_off_counts_nothing_records_nothing_and_stops_nothing():
    guard = CollapseGuard(stop=True)
    assert guard.count(0, {"policy/entropy": 0.0}) == 0 and guard.metrics(0) == {}
    assert not guard.stops(99) and guard.warning(0, 0, 99) is None


def test_a_warning_comes_at_the_collapse_and_again_after_as_many_steps():
    guard = CollapseGuard(below_nats=0.5, for_steps=3)
    assert [n for n in range(1, 10) if guard.warning(n - 1, n, step=n)] == [3, 6, 9]
    assert "step 6: the policy has collapsed" in guard.warning(5, 6, step=6)
    assert guard.warning(6, 6, step=7) is None  # a step without anything to learn from
    assert guard.warning(6, 0, step=7) is None
    assert not guard.stops(6) and replace(guard, stop=True).stops(3)


@pytest.mark.parametrize("settings", [dict(for_steps=0), dict(below_nats=0.0), dict(below_nats=-1.0)])
def test_thresholds_that_make_no_sense_are_refused(settings):
    with pytest.raises(ValueError, match="guard"):
        CollapseGuard(**settings)


def test_a_stopped_run_ends_with_an_exit_code_of_its_own(tmp_path, monkeypatch, capsys):
    def stopped(*_, **__):
        raise Collapsed("stopped by its guard after step 3")

    monkeypatch.setattr("entropy_rl.commands.train.train", stopped)
    with pytest.raises(SystemExit) as end:
        Train(settings=make_config(tmp_path)).run()
    assert end.value.code == EXIT_COLLAPSED == 76
    assert "after step 3" in capsys.readouterr().err


def test_checkpoints_of_before_the_guard_still_say_how_far_they_came():
    old = dict(step=3, num_updates=6, num_gen_batches=3, seed=0, data_position={})
    assert Progress(**old).entropy_bonus is None


def guarded_config(folder, **changes):
    """Four steps whose coefficient rises from 0.25 by 0.125 a step, and whose guard warns."""
    bonus = TargetEntropyBonus(target_nats=ALWAYS, step_size=0.125, maximum=0.5)
    settings = dict(
        task=EvenTask(num_train_prompts=31, num_heldout_prompts=5),
        objective=PPOClip(),
        regularizer=Regularizer(entropy_coef=0.25, entropy_bonus=bonus),
        guard=CollapseGuard(below_nats=ALWAYS, for_steps=3),
        evaluation=None,
        warm_start=None,
        num_steps=4,
        checkpoint_every_steps=2,
    )
    return make_config(folder, **(settings | changes))


def rows_of(config):
    rows = read_rows(config.runs_folder / config.name / "metrics.jsonl")
    return [{name: x for name, x in row.items() if not name.startswith(TIMES)} for row in rows]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The steps of a run that never stopped."""
    config = guarded_config(tmp_path_factory.mktemp("whole"))
    train(config)
    return rows_of(config)


def test_a_target_moves_the_coefficient_of_a_run_from_step_to_step(whole):
    assert [row["guard/entropy_coef"] for row in whole] == [0.25, 0.375, 0.5, 0.5]
    assert [row["guard/collapsed_steps"] for row in whole] == [1, 2, 3, 4]


def test_a_guard_stops_a_run_in_order_and_resumed_it_goes_on_with_the_coefficient_and_count(
    whole, tmp_path, capsys
):
    stopping = CollapseGuard(below_nats=ALWAYS, for_steps=3, stop=True)
    config = guarded_config(tmp_path, guard=stopping, checkpoint_every_steps=50)
    with pytest.raises(Collapsed, match="after step 3.*4 nats for 3 steps in a row.*--resume"):
        train(config)
    folder = config.runs_folder / config.name
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["last_step"] == 3 and "after step 3" in summary["stopped"]
    assert (folder / "plots").is_dir() and (folder / "checkpoints" / "3").is_dir()
    assert "step 3: the policy has collapsed" in capsys.readouterr().out
    with pytest.raises(Collapsed, match="after step 3"):
        train(config, resume=True)
    assert rows_of(config) == whole[:3]
    train(replace(config, guard=replace(stopping, stop=False)), resume=True)
    assert rows_of(config) == whole
    assert "stopped" not in json.loads((folder / "summary.json").read_text())


@pytest.mark.slow
def test_a_target_holds_the_entropy_of_a_policy_that_collapses_without_one(tmp_path):
    def entropies(name, regularizer):
        optimizer = AdamW(learning_rate=3e-2)
        config = guarded_config(
            tmp_path,
            name=name,
            regularizer=regularizer,
            optimizer=optimizer,
            guard=CollapseGuard(),
            num_steps=60,
            checkpoint_every_steps=60,
        )
        train(config)
        return [row["policy/entropy"] for row in rows_of(config)]

    alone = entropies("alone", Regularizer())
    held = entropies("held", Regularizer(entropy_bonus=TargetEntropyBonus(target_nats=2.5, step_size=0.05)))
    assert alone[0] == held[0] and alone[10] == held[10]  # above the target nothing acts
    assert max(alone[-20:]) < 2.4 and min(held[-20:]) > 2.4

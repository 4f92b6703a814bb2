"""Dynamic sampling: which groups pass, how a batch is filled, what becomes of the rest, and whole runs."""

from dataclasses import replace
from itertools import count

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from entropy_rl.config import BatchConfig
from entropy_rl.data.graders import GradeBatch
from entropy_rl.data.tasks import CountdownTask
from entropy_rl.dynamic_sampling import DynamicSampling, PassRateBand, RewardsDiffer
from entropy_rl.evaluation import RolloutGrades
from entropy_rl.observability.metric_names import unknown_names
from entropy_rl.observability.run_record import read_rows
from entropy_rl.parallelism import MeshConfig, batch_sharding
from entropy_rl.step_batch import Generation, fill
from entropy_rl.step_metrics import sample_metrics
from entropy_rl.train import saved_surplus, train
from entropy_rl.training.checkpoint import Checkpoints, Progress
from entropy_rl.training.groups import GroupPool
from entropy_rl.training.layout import Padded
from entropy_rl.types import Rollout
from entropy_rl.workbench import Workbench
from tests.runs import make_config, make_dynamic_config
from tests.test_train import killed_and_resumed, without_times

PLACEMENT = batch_sharding(MeshConfig().build())
G, S, T = 3, 2, 5


def graded(reward_PG, length_PG) -> RolloutGrades:
    reward_PG = np.array(reward_PG, np.float32)
    grades = GradeBatch(
        reward_PG=reward_PG,
        correct_PG=reward_PG == 1,
        timed_out_PG=np.zeros(reward_PG.shape, bool),
        extracted_PG=np.full(reward_PG.shape, None, object),
        method_PG=np.full(reward_PG.shape, "made up", object),
        seconds=0.5,
    )
    return RolloutGrades(
        grades=grades,
        length_PG=length_PG,
        truncated_PG=np.zeros(reward_PG.shape, bool),
        duplicate_PG=np.zeros(reward_PG.shape, bool),
        near_duplicate_PG=np.zeros(reward_PG.shape, bool),
        text_PG=np.full(reward_PG.shape, None, object),
    )


def generation(prompt_ids, kinds: str, length: int = 2) -> Generation:
    """A generation batch: for each prompt m (mixed), r (all right) or w (all wrong)."""
    rewards = {"m": [0, 1, 0], "r": [1, 1, 1], "w": [0, 0, 0]}
    P = len(prompt_ids)
    prompt_id_P = np.array(prompt_ids, np.int32)
    mask_PGT = np.broadcast_to(np.arange(T) < length, (P, G, T))
    rollout = Rollout(
        prompt_ids_PS=jnp.repeat(prompt_id_P[:, None], S, axis=1),
        prompt_mask_PS=jnp.ones((P, S), bool),
        prompt_id_P=jnp.asarray(prompt_id_P),
        response_ids_PGT=jnp.broadcast_to(prompt_id_P[:, None, None], (P, G, T)),
        response_mask_PGT=jnp.asarray(mask_PGT),
        behavior_logp_PGT=jnp.zeros((P, G, T)),
        logp_PGT=jnp.where(mask_PGT, -0.5, 0.0),
    )
    return Generation(
        prompt_id_P=prompt_id_P,
        rollout=jax.device_put(rollout, PLACEMENT),
        graded=graded([rewards[kind] for kind in kinds], np.full((P, G), length, np.int32)),
    )


def filled(settings, generations, surplus=None, step=7):
    """`fill` for 4 groups, 2 an update; generation batches are handed out in order."""
    surplus = surplus or GroupPool.empty((8, G, S, T), PLACEMENT)
    sampled = iter(generations)
    collected = fill(
        settings, surplus, lambda number: next(sampled), step=step, prompts_per_step=4, prompts_per_update=2
    )
    assert next(sampled, None) is None, "not all generation batches were asked for"
    return collected


def prompts_of(batch) -> list[int]:
    """Prompts of the rows that hold a group; the arrays must be those of their prompts."""
    mask_PGT = np.asarray(batch.rollout.response_mask_PGT)
    real_P = mask_PGT.any(axis=(1, 2))
    ids_P = np.asarray(batch.rollout.prompt_id_P)[real_P]
    np.testing.assert_array_equal(np.asarray(batch.rollout.response_ids_PGT)[real_P, 0, 0], ids_P)
    return ids_P.tolist()


def test_rewards_that_differ_pass_and_a_band_goes_by_the_share_of_right_ones():
    reward_PG = np.array([[0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 0, 0], [1, 1, 0.5, 1]], np.float32)
    correct_PG = reward_PG > 0
    assert RewardsDiffer().passes(reward_PG, correct_PG).tolist() == [False, False, True, True]
    assert PassRateBand().passes(reward_PG, correct_PG).tolist() == [False, False, True, False]
    assert PassRateBand(low=0.25, high=1.0).passes(reward_PG, correct_PG).tolist() == [
        False,
        True,
        True,
        True,
    ]
    tenths_PG = np.arange(10)[None] < np.array([[0], [1], [9], [10]])
    rewards_PG = tenths_PG.astype(np.float32)
    assert PassRateBand(low=0.1, high=0.9).passes(rewards_PG, tenths_PG).tolist() == [
        False,
        True,
        True,
        False,
    ]


def test_generation_goes_on_until_the_batch_is_full_and_the_surplus_waits_for_the_next_step():
    batches = [generation([10, 11, 12, 13], "mwrm"), generation([20, 21, 22, 23], "mmmw", length=3)]
    first = filled(DynamicSampling(), batches)
    assert prompts_of(first.batch) == [10, 13, 20, 21]
    assert first.batch.num_updates == 2 and first.batch.stale_P is None
    assert first.graded.grades.reward_PG.shape == (8, G) and first.graded.grades.seconds == 1.0
    metrics = first.metrics
    assert metrics["generation/batches"] == 2 and metrics["generation/tokens"] == 4 * G * 2 + 4 * G * 3
    assert metrics["generation/kept_fraction"] == 5 / 8
    assert metrics["generation/wasted_tokens"] == 2 * G * 2 + 1 * G * 3
    assert metrics["generation/dropped_tokens"] == metrics["batch/missing_groups"] == 0
    np.testing.assert_allclose(metrics["generation/surprisal"], 0.5)
    assert metrics["surplus/groups"] == 1 and metrics["staleness/max"] == 0
    second = filled(DynamicSampling(), [generation([30, 31, 32, 33], "mmmm")], first.surplus, step=8)
    assert prompts_of(second.batch) == [22, 30, 31, 32]
    assert second.batch.stale_P.tolist() == [True, False, False, False]
    assert second.metrics["staleness/mean"] == 1 / 4 and second.metrics["staleness/group_fraction"] == 1 / 4
    assert unknown_names(second.metrics) == ()


def test_a_surplus_that_fills_the_batch_needs_no_generation_and_the_oldest_go_first():
    settings = DynamicSampling(prompts_per_gen_batch=8)
    pool = GroupPool.empty((12, G, S, T), PLACEMENT)
    first = filled(settings, [generation(range(10, 18), "mmmmmmmm")], pool)
    assert first.metrics["surplus/groups"] == 4
    second = filled(settings, [], first.surplus, step=8)
    assert prompts_of(second.batch) == [14, 15, 16, 17] and second.graded is None
    assert second.metrics["generation/batches"] == second.metrics["generation/tokens"] == 0
    assert second.metrics["generation/wasted_tokens"] == second.metrics["generation/dropped_tokens"] == 0
    assert sample_metrics(second.graded) == {} and unknown_names(second.metrics) == ()
    assert second.metrics["staleness/group_fraction"] == 1


def test_the_wasted_fraction_is_one_at_most_even_when_more_is_dropped_than_was_sampled():
    settings = DynamicSampling(max_gen_batches=1)
    first = filled(settings, [generation([1, 2, 3], "mmm", length=5)])
    left = replace(first.surplus, groups=generation([1, 2, 3], "mmm", length=5).groups(step=6))
    again = filled(settings, [generation([1, 2, 3], "mmm", length=1)], left)
    assert again.metrics["generation/dropped_tokens"] == 3 * G * 5  # more than the step sampled
    assert again.metrics["generation/wasted_fraction"] == 0
    failed = filled(settings, [generation([4, 5, 6], "rwr")], again.surplus)
    assert failed.metrics["generation/wasted_tokens"] == failed.metrics["generation/tokens"] == 3 * G * 2
    assert failed.metrics["generation/wasted_fraction"] == 1


def test_a_surplus_may_be_dropped_at_once_or_when_it_is_too_old():
    full = generation(range(10, 18), "mmmmmmmm")
    pool = GroupPool.empty((12, G, S, T), PLACEMENT)
    dropped = filled(DynamicSampling(max_staleness=0, prompts_per_gen_batch=8), [full], pool)
    assert dropped.metrics["surplus/groups"] == 0
    assert dropped.metrics["generation/dropped_tokens"] == 4 * G * 2
    assert dropped.metrics["generation/wasted_tokens"] == dropped.metrics["generation/wasted_fraction"] == 0
    kept = filled(DynamicSampling(max_staleness=1, prompts_per_gen_batch=8), [full], pool)
    groups = kept.surplus.groups
    assert DynamicSampling(max_staleness=1).usable(groups, 8).all()
    assert not DynamicSampling(max_staleness=1).usable(groups, 9).any()


def test_of_two_groups_of_one_prompt_the_newer_one_stays():
    first = filled(DynamicSampling(), [generation([1, 2, 3, 9], "mmmw"), generation([4, 5, 6, 7], "mmmm")])
    assert first.surplus.groups.prompt_id_N.tolist() == [5, 6, 7]
    second = filled(DynamicSampling(), [generation([6, 5, 1, 2], "mwmm", length=3)], first.surplus, step=8)
    assert prompts_of(second.batch) == [5, 7, 6, 1]  # 5 was all wrong now: nothing to take its place
    assert second.batch.stale_P.tolist() == [True, True, False, False]
    assert second.metrics["generation/dropped_tokens"] == 2 * G


def test_a_step_that_runs_out_of_generation_batches_learns_from_what_there_is_or_from_nothing():
    settings = DynamicSampling(max_gen_batches=2)
    few = filled(settings, [generation([1, 2, 3, 4], "mwmw"), generation([5, 6, 7, 8], "wwrm")])
    assert prompts_of(few.batch) == [1, 3, 8] and few.batch.num_updates == 2
    assert few.metrics["batch/missing_groups"] == 1
    np.testing.assert_array_equal(few.batch.reward_PG[3], 0)
    none = filled(settings, [generation([1, 2, 3, 4], "rwww"), generation([5, 6, 7, 8], "wwrr")])
    assert none.batch is None and none.metrics["batch/missing_groups"] == 4
    assert none.metrics["generation/wasted_fraction"] == 1 and unknown_names(none.metrics) == ()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(max_gen_batches=0), "must be at least 1"),
        (dict(max_staleness=-1), "max_staleness at least 0, got 10, None and -1"),
        (dict(prompts_per_gen_batch=6), "a multiple of mesh.data \\* mesh.fsdp = 4, got 6"),
        (dict(prompts_per_gen_batch=4, max_gen_batches=1), "must reach batch.prompts_per_step, 8, got 1 x 4"),
    ],
)
def test_settings_that_cannot_work_are_refused(tmp_path, settings, message):
    batch = BatchConfig(prompts_per_step=8, samples_per_prompt=3, prompts_per_update=4)
    with pytest.raises(ValueError, match=message):
        dynamic = DynamicSampling(**settings)
        make_config(tmp_path, batch=batch, mesh=MeshConfig(fsdp=4), dynamic_sampling=dynamic)


def test_groups_of_one_and_bands_upside_down_are_refused(tmp_path):
    batch = BatchConfig(prompts_per_step=4, samples_per_prompt=1, prompts_per_update=2)
    with pytest.raises(ValueError, match="samples_per_prompt of at least 2, got 1"):
        make_config(tmp_path, batch=batch, dynamic_sampling=DynamicSampling())
    with pytest.raises(ValueError, match="low 0.9 and high 0.1"):
        PassRateBand(low=0.9, high=0.1)


def test_a_wave_is_at_most_a_generation_batch_whose_size_decides_how_data_are_read(tmp_path):
    batch = BatchConfig(prompts_per_step=8, samples_per_prompt=3, prompts_per_update=4, prompts_per_wave=8)
    dynamic = DynamicSampling(prompts_per_gen_batch=4)
    with pytest.raises(ValueError, match="at most dynamic_sampling.prompts_per_gen_batch = 4, got 8"):
        make_config(tmp_path, batch=batch, dynamic_sampling=dynamic)
    config = make_config(tmp_path, batch=replace(batch, prompts_per_wave=2), dynamic_sampling=dynamic)
    assert config.prompts_per_gen_batch == 4


def test_generation_batches_draw_from_keys_of_their_own_and_the_first_from_the_step_s(tmp_path):
    config = make_config(tmp_path)
    keys = [config.sampler_key(step, number) for step in (1, 2) for number in range(3)]
    assert len({tuple(jax.random.key_data(key).tolist()) for key in keys}) == 6
    assert (jax.random.key_data(keys[0]) == jax.random.key_data(config.key("sampler", 1))).all()


@pytest.mark.parametrize(
    ("size", "refusal"),
    [
        (5, "batch.prompts_per_step must be .* prompts, 7 .*got 11"),
        (None, "batch.prompts_per_step must be .* prompts, 7 .*got 11"),
        (13, "dynamic_sampling.prompts_per_gen_batch must be .* prompts, 7 .*got 13"),
    ],
    ids=["smaller batches", "as a step", "larger batches"],
)
def test_a_step_of_more_prompts_than_there_are_is_refused_by_the_name_of_its_setting(tmp_path, size, refusal):
    config = make_config(
        tmp_path,
        task=CountdownTask(num_train_prompts=7, num_heldout_prompts=5),
        batch=BatchConfig(prompts_per_step=11, samples_per_prompt=2, prompts_per_update=1, layout=Padded()),
        dynamic_sampling=DynamicSampling(prompts_per_gen_batch=size),
        warm_start=None,
    )
    with pytest.raises(ValueError, match=refusal):
        Workbench.of(config)


def run_of(folder, **changes):
    """A run, gone on with where there is one in the folder, and its rows."""
    config = make_dynamic_config(folder, **changes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("entropy_rl.run_report.draw_run", lambda folder: None)  # most of a short run's time
        train(config, resume=(config.runs_folder / config.name).exists())
    return config, read_rows(config.runs_folder / config.name / "metrics.jsonl")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that never stopped: (its configuration, its rows)."""
    return run_of(tmp_path_factory.mktemp("whole"))


def test_a_run_learns_from_full_batches_uses_its_surplus_and_counts_what_it_makes(whole):
    config, rows = whole
    assert [row["counter/rollout_steps"] for row in rows] == list(range(1, 8))
    assert [row["counter/gradient_steps"] for row in rows] == list(range(2, 16, 2))
    sampled = np.cumsum([row["generation/batches"] for row in rows])
    assert [row["counter/generation_steps"] for row in rows] == sampled.tolist()
    assert any(row["surplus/groups"] for row in rows[:-1])
    for before, row in zip(rows, rows[1:], strict=False):
        assert unknown_names(row) == () and row["batch/missing_groups"] == 0
        used = row["staleness/group_fraction"] * config.batch.prompts_per_step
        assert used <= before["surplus/groups"]
        assert row["mismatch/logp_gap_max"] is None or row["mismatch/logp_gap_max"] < 1e-5
        assert 0 < row["batch/pass_rate"] < 1


def test_a_run_stopped_with_a_surplus_and_resumed_equals_one_that_never_stopped(whole, tmp_path):
    config, rows = whole
    stop = next(row["step"] for row in rows if row["surplus/groups"])
    assert stop < 7
    run_of(tmp_path, num_steps=stop)
    _, resumed = run_of(tmp_path)
    assert without_times(resumed) == without_times(rows)


@pytest.mark.slow
def test_a_run_killed_beside_a_surplus_and_resumed_equals_one_that_never_stopped(whole, tmp_path):
    _, rows = whole
    assert all(row["surplus/groups"] for row in rows[1::2])  # so any checkpoint that it goes on from has one
    metrics = killed_and_resumed(tmp_path, "make_dynamic_config")
    assert without_times(read_rows(metrics)) == without_times(rows)


def test_a_filter_that_all_groups_pass_changes_no_number(tmp_path):
    every = DynamicSampling(filter=PassRateBand(low=0.0, high=1.0))
    _, plain = run_of(tmp_path / "plain", num_steps=3, dynamic_sampling=None)
    _, rows = run_of(tmp_path / "every", num_steps=3, dynamic_sampling=every)
    for row, expected in zip(without_times(rows), without_times(plain), strict=True):
        assert {name: row[name] for name in expected} == expected


def test_a_run_goes_on_after_steps_with_too_few_groups_or_none_and_says_so(tmp_path, capsys, monkeypatch):
    passing = {1: 3, 2: 0, 3: 4}  # of four, by step
    calls = count(1)

    class SoMany(RewardsDiffer):
        def passes(self, reward_PG, correct_PG):
            return np.arange(4) < passing[next(calls)]

    dynamic = DynamicSampling(filter=SoMany(), max_gen_batches=1)
    _, rows = run_of(tmp_path, num_steps=3, dynamic_sampling=dynamic)
    assert [row["batch/missing_groups"] for row in rows] == [1, 4, 0]
    assert [row["optimizer/updates"] for row in rows] == [2, 0, 2]
    assert [row["counter/gradient_steps"] for row in rows] == [2, 2, 4]
    assert "policy/entropy" not in rows[1] and rows[1]["reward/pass_rate"] > 0
    said = capsys.readouterr().out
    assert "step 1: only 3 of 4 groups passed the filter in 1 generation batches" in said
    assert "step 2: only 0 of 4" in said and "no update was made" in said and "step 3: only" not in said


def test_groups_of_another_shape_are_refused_unless_they_are_dropped():
    full = generation(range(10, 18), "mmmmmmmm")
    pool = GroupPool.empty((12, G, S, T), PLACEMENT)
    left = filled(DynamicSampling(prompts_per_gen_batch=8), [full], pool, step=7).surplus
    done = Progress(
        step=7,
        num_updates=14,
        num_gen_batches=7,
        seed=0,
        data_position={},
        surplus={"groups": left.groups.as_json(), "shape": left.shape},
    )
    longer = GroupPool.empty((12, G, S, T + 1), PLACEMENT)

    class Saved(Checkpoints):
        def __init__(self):
            pass

        def restore_surplus(self, like):
            return left.rollout

    def found(empty, **settings):
        return saved_surplus(DynamicSampling(**settings), Saved(), done, empty)

    assert found(pool).groups.prompt_id_N.tolist() == [14, 15, 16, 17]
    with pytest.raises(ValueError, match=r"= \[12, 3, 2, 6\], got \[12, 3, 2, 5\]; .*max_staleness 0"):
        found(longer)
    assert len(found(longer, max_staleness=0).groups) == 0

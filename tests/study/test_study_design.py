"""What a study may be, and that the one that is shipped is fair."""

from dataclasses import replace
from pathlib import Path

import pytest

from entropy_rl.config import Evaluation
from entropy_rl.starting_policy import warm_start_folder
from entropy_rl.study import Method, Stage
from entropy_rl.study.design import load_study
from tests.study.miniature import TASK, make_study

ENTROPY = Path(__file__).resolve().parents[2] / "configs/studies/entropy.py"


@pytest.fixture(scope="module")
def shipped():
    return load_study(ENTROPY)


def test_the_shipped_study_has_the_methods_seeds_and_budget_that_it_tells(shipped, tmp_path):
    names = ["GRPO", "clip-higher", "Clip-Cov", "KL-Cov", "entropy bonus"]
    assert [method.name for method in shipped.methods] == names
    assert len(shipped.development_runs(tmp_path)) == 5 * 6 * 2
    chosen = {method.name: method.settings[0].name for method in shipped.methods}
    assert len(shipped.final_runs(tmp_path, chosen)) == 5 * 5 + 5
    assert not set(shipped.development.seeds) & set(shipped.final.seeds)


def test_methods_of_the_shipped_study_differ_in_objective_learning_rate_and_bonus_alone(shipped):
    configs = [setting.config for method in shipped.methods for setting in method.settings]
    alike = {
        replace(
            config,
            objective=configs[0].objective,
            optimizer=configs[0].optimizer,
            regularizer=configs[0].regularizer,
        )
        for config in configs
    }
    assert len(alike) == 1
    own = {method.name: method.settings for method in shipped.methods}
    for name in ("Clip-Cov", "KL-Cov", "entropy bonus"):
        assert {setting.config.optimizer.learning_rate for setting in own[name]} == {2e-4}
    assert {setting.config.objective.eps_high for setting in own["clip-higher"]} == {0.28}


def test_problems_of_the_shipped_stages_are_disjoint(shipped):
    shipped.check_problems()
    parts = {stage.task.part for stage in (shipped.development, shipped.final)}
    assert parts == {0, 1}


def test_all_methods_start_a_seed_from_one_warm_start(shipped, tmp_path):
    runs = shipped.final_runs(tmp_path, {method.name: method.settings[0].name for method in shipped.methods})
    assert len({run.path for run in runs}) == 30
    starts = {(run.seed, warm_start_folder(run.config)) for run in runs}
    assert len(starts) == len({folder for _, folder in starts}) == 5
    assert all(folder.parent == tmp_path / "policies" for _, folder in starts)


def test_controls_are_measured_unless_tuning_chose_them_anyway(tmp_path):
    study = make_study(tmp_path, controls=(("GRPO", "slow"),))
    runs = study.final_runs(tmp_path, {"GRPO": "fast", "KL-Cov": "fast"})
    assert [run.method for run in runs[4:]] == ["GRPO at slow"] * 2 == study.labels[2:] * 2
    assert {run.setting for run in runs[4:]} == {"slow"}
    assert len(study.final_runs(tmp_path, {"GRPO": "slow", "KL-Cov": "fast"})) == 4


def test_a_study_whose_heldout_problems_overlap_is_refused(tmp_path):
    study = make_study(tmp_path, final=Stage(name="final", seeds=(1,), task=TASK, evaluation=Evaluation()))
    with pytest.raises(ValueError, match=r"5 are not.*different parts of one seed"):
        study.check_problems()


def test_parts_of_a_seed_share_no_problem_and_make_up_the_whole():
    whole = replace(TASK, num_train_prompts=26, num_heldout_prompts=10)
    tokenizer = TASK.load_tokenizer(None)
    parts = [replace(TASK, part=part) for part in (0, 1)]
    heldout = [[p.content for p in task.heldout_prompts(tokenizer)] for task in parts]
    trained = [[p.content for p in task.train_prompts(tokenizer).prompts] for task in parts]
    assert heldout[0] + heldout[1] == [p.content for p in whole.heldout_prompts(tokenizer)]
    assert trained[0] + trained[1] == [p.content for p in whole.train_prompts(tokenizer).prompts]
    assert len(set(trained[0] + trained[1] + heldout[0] + heldout[1])) == 26 + 10
    with pytest.raises(ValueError, match="part must be 0 or more"):
        replace(TASK, part=-1)


def test_unequal_budgets_stale_seeds_and_unknown_names_are_refused(tmp_path):
    study = make_study(tmp_path)
    grpo, kl_cov = study.methods
    fewer = Method(name="KL-Cov", settings=kl_cov.settings[:1])
    with pytest.raises(ValueError, match="same number of different settings, got .*'GRPO': 2, 'KL-Cov': 1"):
        make_study(tmp_path, methods=(grpo, fewer))
    with pytest.raises(ValueError, match=r"fresh, \[7\]"):
        make_study(tmp_path, final=replace(study.final, seeds=(1, 7)))
    with pytest.raises(ValueError, match="names, DAPO, KL-Cov among them"):
        make_study(tmp_path, baseline="DAPO")
    with pytest.raises(ValueError, match="one of: fast; slow; got 'medium'"):
        make_study(tmp_path, controls=(("GRPO", "medium"),))
    with pytest.raises(ValueError, match="one of: fast; slow; got 'medium'"):
        study.final_runs(tmp_path, {"GRPO": "medium", "KL-Cov": "fast"})
    with pytest.raises(ValueError, match="must evaluate 8 samples, got 4"):
        replace(study.final, evaluation=Evaluation(num_samples=4))
    longer = replace(kl_cov.settings[1], config=replace(kl_cov.settings[1].config, num_steps=5))
    with pytest.raises(ValueError, match=r"same number of steps, got \[3, 5\]"):
        make_study(tmp_path, methods=(grpo, replace(kl_cov, settings=(kl_cov.settings[0], longer))))

"""Validation on the way of a run: when it is due, what it costs at once, what it leaves in the metrics."""

from dataclasses import replace

import numpy as np
import pytest

from entropy_rl.config import Evaluation, RunConfig
from entropy_rl.data.tasks import CountdownTask
from entropy_rl.data.tokenizers import countdown_tokenizer
from entropy_rl.evaluation import EvaluationReport
from entropy_rl.heldout import heldout_numbers, heldout_prompts, validation_numbers, validation_problems
from entropy_rl.observability.metric_names import unknown_names
from entropy_rl.observability.run_record import read_rows
from entropy_rl.stored_policy import StoredPolicy
from entropy_rl.train import train
from entropy_rl.validation import Validation
from tests.evaluation.suites import make_suite
from tests.policies import tiny_policy
from tests.processes.job import EvenLength
from tests.runs import make_config


def test_it_is_due_every_so_many_steps_and_at_the_end(tmp_path):
    suite = make_suite(tmp_path)
    validation = Validation(suite=suite, every_steps=3)
    assert [step for step in range(1, 9) if validation.due(step, 8)] == [3, 6, 8]
    only_at_end = Validation(suite=suite)
    assert [step for step in range(1, 9) if only_at_end.due(step, 8)] == [8]
    never = Evaluation(at_end=False)
    assert not any(never.due(step, 8) for step in range(1, 9))


def test_as_many_responses_are_sampled_together_as_fit_where_trainings_do(tmp_path):
    validation = Validation(suite=make_suite(tmp_path))  # prompts of 13 and responses of 6 tokens at most
    assert validation.at_once(num_sequences=12, max_response_tokens=19) == 12
    assert validation.at_once(num_sequences=12, max_response_tokens=6) == 3  # 72 tokens
    assert validation.at_once(num_sequences=12, max_response_tokens=24) == 12
    assert validation.at_once(num_sequences=1, max_response_tokens=1) == 1
    chosen = Validation(suite=validation.suite, sequences_at_once=5)
    assert chosen.at_once(num_sequences=12, max_response_tokens=3) == 5


def test_numbers_are_those_of_the_suite_and_have_the_mean_of_its_benchmarks(tmp_path):
    config = make_config(tmp_path, validation=Validation(suite=make_suite(tmp_path / "data")))
    policy, params = tiny_policy()
    stored = StoredPolicy(policy=policy, params=params, tokenizer=countdown_tokenizer())
    problems = validation_problems(config, stored.tokenizer)
    numbers = validation_numbers(config, stored, problems)
    means = numbers["sampled/mean@3"], numbers["greedy/mean@1"]
    assert numbers["mean"] == pytest.approx(sum(means) / 2)
    assert numbers["sampled/num_problems"] == 6 and numbers["sampled/num_too_long"] == 1
    assert numbers["sampled/pass@3"] >= numbers["sampled/mean@3"] > 0
    assert unknown_names(f"validation/{name}" for name in numbers) == ()


def test_heldout_prompts_are_those_given_and_as_many_greedy_ones_at_once_as_fit(tmp_path, monkeypatch):
    task = CountdownTask(num_train_prompts=31, num_heldout_prompts=5)
    config = make_config(tmp_path, task=task, evaluation=Evaluation(num_samples=6, greedy=True))
    policy, params = tiny_policy()
    stored = StoredPolicy(policy=policy, params=params, tokenizer=countdown_tokenizer())
    prompts, asked = heldout_prompts(config, stored.tokenizer)[:3], []

    def evaluate(sampler, params, prompts, *_, prompts_per_batch, **__):
        asked.append((sampler.num_samples, len(prompts), prompts_per_batch))
        right = np.ones((len(prompts), sampler.num_samples), bool)
        return EvaluationReport(correct_PG=right, mean_length_tokens=7.0, truncated_fraction=0.0)

    monkeypatch.setattr("entropy_rl.heldout.evaluate", evaluate)
    monkeypatch.setattr(RunConfig, "heldout_prompts", lambda *_: pytest.fail("read again"))
    numbers = heldout_numbers(config, stored, prompts, EvenLength())
    assert numbers["num_prompts"] == 3 and numbers["greedy_accuracy"] == 1
    # Training samples 12 responses at once; if each had a prompt of its own, 12 * T / (S + T) would fit.
    fit = 12 * task.max_response_tokens // (task.max_prompt_tokens + task.max_response_tokens)
    assert fit > 4 and asked == [(6, 3, 4), (1, 3, fit)]
    assert heldout_prompts(replace(config, evaluation=None), stored.tokenizer) == []


@pytest.mark.slow
def test_a_run_validates_by_a_suite_and_greedily_and_explains_every_number(tmp_path, monkeypatch):
    suite, read = make_suite(tmp_path / "data"), []
    monkeypatch.setattr("entropy_rl.train.heldout_prompts", lambda *a: read.append(a) or heldout_prompts(*a))
    config = make_config(
        tmp_path,
        num_steps=2,
        warm_start=None,
        evaluation=Evaluation(num_samples=2, greedy=True, every_steps=1),
        validation=Validation(suite=suite, every_steps=1),
    )
    train(config)
    first, last = read_rows(config.runs_folder / config.name / "metrics.jsonl")
    for row in (first, last):
        assert unknown_names(row) == ()
        assert 0 <= row["validation/sampled/mean@3"] <= row["validation/sampled/pass@3"] <= 1
        assert "heldout/greedy_accuracy" in row
    assert len(read) == 1


def test_a_missing_file_is_told_before_the_first_step(tmp_path):
    suite = make_suite(tmp_path / "data")
    (tmp_path / "data" / "greedy" / "test.jsonl").unlink()
    config = make_config(tmp_path, warm_start=None, validation=Validation(suite=suite, every_steps=2))
    with pytest.raises(ValueError, match=r"greedy/test.jsonl does not; check the path"):
        train(config)
    for never in (dict(at_end=False), dict(at_end=False, every_steps=8)):  # of seven steps
        unasked = replace(config, validation=Validation(suite=suite, **never))
        assert validation_problems(unasked, countdown_tokenizer()) == {}
    assert not (config.runs_folder / config.name / "metrics.jsonl").exists()

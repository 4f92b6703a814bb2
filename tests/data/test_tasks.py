"""Tasks: prompts, static lengths, graders."""

import json

import numpy as np
import pytest

from entropy_rl.data.countdown import CountdownSpace
from entropy_rl.data.pipeline import PromptPipeline, collate
from entropy_rl.data.prompt_files import GSM8K, Plain, PromptFile
from entropy_rl.data.prompts import Prompt
from entropy_rl.data.tasks import CountdownTask, PromptFileTask
from entropy_rl.data.tokenizers import countdown_tokenizer
from entropy_rl.rewards.pool import JudgeLimits


def countdown_prompt(answer):
    return Prompt(prompt_id=0, content=answer + ":", answer=answer, data_source="countdown", origin="here")


def file_task(tmp_path, train_rows, heldout_rows, schema, **options):
    files = {}
    for name, rows in (("train", train_rows), ("heldout", heldout_rows)):
        path = tmp_path / f"{name}.jsonl"
        path.write_text("\n".join(json.dumps(row) for row in rows))
        files[name] = PromptFile(path=path, schema=schema)
    return PromptFileTask(**files, **options)


@pytest.mark.parametrize(
    "space", [CountdownSpace(), CountdownSpace(num_numbers=4, max_number=25, max_target=999)]
)
def test_countdown_lengths_bound_every_prompt_and_demonstration(space):
    task = CountdownTask(space=space, num_train_prompts=100, num_heldout_prompts=30)
    tokenizer = task.load_tokenizer(None)
    prompts = task.train_prompts(tokenizer) + task.heldout_prompts(tokenizer)
    batch = collate(prompts, tokenizer, task.max_prompt_tokens)
    assert batch.prompt_ids_PS.shape == (130, task.max_prompt_tokens)
    completions = [completion for _, completion in task.demonstrations(100, seed=1)]
    assert all(len(tokenizer.encode(text)) < task.max_response_tokens for text in completions)


def test_countdown_prompts_have_different_ids_and_texts_in_both_splits():
    task = CountdownTask(num_train_prompts=100, num_heldout_prompts=30)
    tokenizer = task.load_tokenizer(None)
    prompts = task.train_prompts(tokenizer) + task.heldout_prompts(tokenizer)
    assert len({prompt.prompt_id for prompt in prompts}) == len({prompt.text for prompt in prompts}) == 130


def test_the_default_countdown_task_has_enough_problems():
    task = CountdownTask()
    tokenizer = task.load_tokenizer(None)
    pipeline = PromptPipeline(
        task.train_prompts(tokenizer),
        tokenizer,
        prompts_per_step=32,
        max_prompt_tokens=task.max_prompt_tokens,
        seed=0,
    )
    assert pipeline.num_too_long == 0 and len(next(pipeline).prompts) == 32
    assert len(task.heldout_prompts(tokenizer)) == task.num_heldout_prompts


def test_the_countdown_task_uses_the_tokenizer_of_a_policy(tmp_path):
    countdown_tokenizer().save(tmp_path)
    assert CountdownTask().load_tokenizer(tmp_path).encode("3") == countdown_tokenizer().encode("3")


def test_countdown_grades_are_exact_and_measure_diversity():
    prompts = [countdown_prompt("3,5,7=22"), countdown_prompt("1,2,3=6")]
    # First group: one solution twice, one valid expression, one invalid. Second: two solutions, one twice.
    responses = [["3*5+7", "7+5*3", "3+5+7", "22"], ["1+2+3", "1*2*3", "3+2+1", ""]]
    with CountdownTask().open_grader() as grader:
        grades = grader.grade(prompts, responses)
    assert grades.correct_PG.tolist() == [[True, True, False, False], [True, True, True, False]]
    assert grades.reward_PG.dtype == np.float32 and (grades.reward_PG == grades.correct_PG).all()
    assert grades.num_timeouts == 0 and grades.responses_per_second > 0
    # 6 of 8 are valid; (1 + 2) different right answers over 2 prompts.
    assert grades.details == {"reward/valid_fraction": 0.75, "reward/distinct_right_answers": 1.5}


def test_boxed_answers_are_graded_and_a_hanging_one_costs_only_itself(tmp_path):
    rows = [{"question": f"{i}?", "answer": f"#### {i}"} for i in range(5)]
    limits = JudgeLimits(time_limit_seconds=1.0)
    task = file_task(tmp_path, rows[:3], rows[3:], GSM8K(), judge_limits=limits)
    prompts = task.train_prompts(countdown_tokenizer())
    responses = [[rf"\boxed{{{i}}}", r"\boxed{9^{9^{9^{9}}}}" if i == 1 else r"\boxed{7}"] for i in range(3)]
    with task.open_grader() as grader:
        grades = grader.grade(prompts, responses)
    assert grades.correct_PG.tolist() == [[True, False]] * 3
    assert grades.num_timeouts == 1 and grades.details == {"reward/judge_errors": 0.0}


def test_a_heldout_prompt_never_trains(tmp_path):
    rows = [{"prompt": f"{i}:", "answer": "a"} for i in range(6)]
    task = file_task(tmp_path, rows, rows[:2], Plain(), max_prompt_tokens=8)
    tokenizer = countdown_tokenizer()
    train, heldout = task.train_prompts(tokenizer), task.heldout_prompts(tokenizer)
    assert [prompt.text for prompt in heldout] == ["0:", "1:"]
    assert [prompt.text for prompt in train] == ["2:", "3:", "4:", "5:"]
    assert not {prompt.prompt_id for prompt in train} & {prompt.prompt_id for prompt in heldout}


def test_a_file_task_without_a_policy_says_what_it_needs(tmp_path):
    task = file_task(tmp_path, [], [], Plain())
    with pytest.raises(ValueError, match="needs the tokenizer of a policy"):
        task.load_tokenizer(None)


@pytest.mark.parametrize("fraction", [-0.1, 1.1])
def test_a_share_of_right_demonstrations_outside_zero_to_one_is_refused(fraction):
    with pytest.raises(ValueError, match="right_demonstration_fraction"):
        CountdownTask(right_demonstration_fraction=fraction)

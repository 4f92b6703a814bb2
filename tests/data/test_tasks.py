"""Tasks: prompts, static lengths, graders."""

import json

import pytest

from entropy_rl.data.countdown import CountdownSpace
from entropy_rl.data.pipeline import PromptPipeline, collate
from entropy_rl.data.prompt_files import PromptFile
from entropy_rl.data.schemas import Columns
from entropy_rl.data.tasks import CountdownTask, PromptFileTask
from entropy_rl.data.tokenizers import countdown_tokenizer
from entropy_rl.rewards.rules import RewardRules
from entropy_rl.rewards.shaping import OverlongPenalty


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
    prompts = task.train_prompts(tokenizer).prompts + task.heldout_prompts(tokenizer)
    batch = collate(prompts, tokenizer, task.max_prompt_tokens)
    assert batch.prompt_ids_PS.shape == (130, task.max_prompt_tokens)
    completions = [completion for _, completion in task.demonstrations(100, seed=1)]
    assert all(len(tokenizer.encode(text)) < task.max_response_tokens for text in completions)


def test_countdown_prompts_have_different_ids_and_texts_in_both_splits():
    task = CountdownTask(num_train_prompts=100, num_heldout_prompts=30)
    tokenizer = task.load_tokenizer(None)
    prompts = task.train_prompts(tokenizer).prompts + task.heldout_prompts(tokenizer)
    assert len({prompt.prompt_id for prompt in prompts}) == len({prompt.text for prompt in prompts}) == 130


def test_the_default_countdown_task_has_enough_problems():
    task = CountdownTask()
    tokenizer = task.load_tokenizer(None)
    pipeline = PromptPipeline(
        task.train_prompts(tokenizer).prompts,
        tokenizer,
        prompts_per_batch=32,
        max_prompt_tokens=task.max_prompt_tokens,
        seed=0,
    )
    assert pipeline.num_too_long == 0 and len(next(pipeline).prompts) == 32
    assert len(task.heldout_prompts(tokenizer)) == task.num_heldout_prompts


def test_the_countdown_task_uses_the_tokenizer_of_a_policy(tmp_path):
    countdown_tokenizer().save(tmp_path)
    assert CountdownTask().load_tokenizer(tmp_path).encode("3") == countdown_tokenizer().encode("3")


def test_a_heldout_prompt_never_trains(tmp_path):
    rows = [{"prompt": f"{i}:", "answer": "a"} for i in range(6)]
    task = file_task(tmp_path, rows, rows[:2], Columns(), max_prompt_tokens=8)
    tokenizer = countdown_tokenizer()
    report, heldout = task.train_prompts(tokenizer), task.heldout_prompts(tokenizer)
    train = report.prompts
    assert report.num_duplicates == 2
    assert [prompt.text for prompt in heldout] == ["0:", "1:"]
    assert [prompt.text for prompt in train] == ["2:", "3:", "4:", "5:"]
    assert not {prompt.prompt_id for prompt in train} & {prompt.prompt_id for prompt in heldout}


def test_a_file_task_without_a_policy_says_what_it_needs(tmp_path):
    task = file_task(tmp_path, [], [], Columns())
    with pytest.raises(ValueError, match="needs the tokenizer of a policy"):
        task.load_tokenizer(None)


@pytest.mark.parametrize("fraction", [-0.1, 1.1])
def test_a_share_of_right_demonstrations_outside_zero_to_one_is_refused(fraction):
    with pytest.raises(ValueError, match="right_demonstration_fraction"):
        CountdownTask(right_demonstration_fraction=fraction)


def test_an_overlong_buffer_that_is_longer_than_a_response_is_refused(tmp_path):
    rules = RewardRules(overlong=OverlongPenalty(buffer_tokens=8))
    file_task(tmp_path, [], [], Columns(), max_response_tokens=8, rewards=rules)
    with pytest.raises(ValueError, match="at most the longest response, 7 tokens, got 8"):
        file_task(tmp_path, [], [], Columns(), max_response_tokens=7, rewards=rules)

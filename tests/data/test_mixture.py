"""Mixtures of tables: what is read, which prompts train, and their shares of the pipeline's batches."""

import json
from collections import Counter
from itertools import islice

import pytest

from entropy_rl.data.pipeline import PromptPipeline
from entropy_rl.data.prompt_files import Mixture, Part, PromptFile, read_prompts
from entropy_rl.data.schemas import Columns
from entropy_rl.data.tasks import PromptFileTask
from entropy_rl.data.tokenizers import ChatMessage, countdown_tokenizer

TOKENIZER = countdown_tokenizer()


def prompt_file(folder, name, numbers, **options):
    path = folder / f"{name}.jsonl"
    path.write_text("\n".join(json.dumps({"prompt": f"{number}:", "answer": "a"}) for number in numbers))
    return PromptFile(path=path, schema=Columns(data_source=name), **options)


def mixed_task(folder, weights=(3.0, 1.0)):
    """40 and 12 prompts, of which two are in both; one is held out, and one is too long."""
    many, few = prompt_file(folder, "many", range(40)), prompt_file(folder, "few", [*range(38, 49), 12345])
    return PromptFileTask(
        train=Mixture(parts=(Part(source=many, weight=weights[0]), Part(source=few, weight=weights[1]))),
        heldout=prompt_file(folder, "heldout", [48]),
        max_prompt_tokens=4,
    )


def pipeline_of(task, seed=0):
    return PromptPipeline(
        task.train_prompts(TOKENIZER).prompts,
        TOKENIZER,
        prompts_per_batch=8,
        max_prompt_tokens=task.max_prompt_tokens,
        seed=seed,
        weights=task.train_weights,
    )


def test_a_prompt_of_several_parts_belongs_to_the_first_and_counts_as_a_duplicate(tmp_path):
    report = read_prompts(mixed_task(tmp_path).train, first_id=7)
    assert report.num_duplicates == 2
    assert Counter(prompt.data_source for prompt in report.prompts) == {"many": 40, "few": 10}
    assert [prompt.prompt_id for prompt in report.prompts] == list(range(7, 57))
    assert all((prompt.part == 1) == (prompt.data_source == "few") for prompt in report.prompts)


def test_a_held_out_prompt_trains_in_no_part(tmp_path):
    task = mixed_task(tmp_path)
    assert "48:" not in {prompt.text for prompt in task.train_prompts(TOKENIZER).prompts}
    (heldout,) = task.heldout_prompts(TOKENIZER)
    assert heldout.text == "48:" and heldout.prompt_id == 0


def test_batches_have_the_shares_of_the_weights_and_a_small_part_comes_round_more_often(tmp_path):
    pipeline = pipeline_of(mixed_task(tmp_path))
    assert pipeline.num_too_long == 1
    batches = list(islice(pipeline, 20))
    sources = [Counter(prompt.data_source for prompt in batch.prompts) for batch in batches]
    assert sources == [{"many": 6, "few": 2}] * 20
    drawn = Counter(prompt.text for batch in batches for prompt in batch.prompts)
    # 120 places among 40 prompts, 40 places among 8: three epochs and five, but for rests left out.
    assert max(drawn[f"{number}:"] for number in range(40)) <= 4
    assert {drawn[f"{number}:"] for number in range(40, 48)} == {5}


def test_a_position_in_a_mixture_is_restored_exactly_and_only_into_the_same_mixture(tmp_path):
    pipeline = pipeline_of(mixed_task(tmp_path))
    next(pipeline)
    state = json.loads(json.dumps(pipeline.get_state()))
    expected = [batch.prompt_id_P.tolist() for batch in islice(pipeline, 7)]
    restored = pipeline_of(mixed_task(tmp_path))
    restored.set_state(state)
    assert [batch.prompt_id_P.tolist() for batch in islice(restored, 7)] == expected
    with pytest.raises(ValueError, match="same prompts, weights"):
        pipeline_of(mixed_task(tmp_path, weights=(3.0, 1.5))).set_state(state)


@pytest.mark.parametrize("weight", [0.0, -1.0, float("inf"), float("nan")])
def test_weights_must_be_positive_and_finite(tmp_path, weight):
    with pytest.raises(ValueError, match="weight of a part must be positive and finite"):
        Part(source=prompt_file(tmp_path, "x", [1]), weight=weight)


def test_a_mixture_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one part"):
        Mixture(parts=())


def test_a_part_whose_prompts_all_came_before_is_refused(tmp_path):
    first, second = prompt_file(tmp_path, "first", [1, 2]), prompt_file(tmp_path, "second", [2])
    mixture = Mixture(parts=(Part(source=first, weight=1.0), Part(source=second, weight=1.0)))
    with pytest.raises(ValueError, match=r"second.jsonl must hold at least one usable row.* 1 duplicates"):
        read_prompts(mixture)


def test_a_system_prompt_stands_before_every_conversation_and_hides_no_duplicate(tmp_path):
    turns = [{"role": "system", "content": "other"}, {"role": "user", "content": "u"}]
    rows = [{"prompt": turns, "answer": "1"}, {"prompt": "u", "answer": "1"}, {"prompt": "v", "answer": "1"}]
    (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, rows)))
    file = PromptFile(path=tmp_path / "x.jsonl", schema=Columns(), system_prompt="Be brief.")
    report = read_prompts(file)
    assert [prompt.content for prompt in report.prompts] == [
        (ChatMessage("system", "Be brief."), ChatMessage("user", text)) for text in "uv"
    ]
    assert report.num_duplicates == 1


def test_a_system_prompt_without_a_chat_is_refused(tmp_path):
    with pytest.raises(ValueError, match="system_prompt must be None where chat is False"):
        prompt_file(tmp_path, "x", [1], chat=False, system_prompt="Be brief.")

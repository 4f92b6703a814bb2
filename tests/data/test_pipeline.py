"""The prompt pipeline: whole epochs, no repeats in a batch, exact resume, left padding."""

import json
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from entropy_rl.data.pipeline import PromptPipeline, collate
from entropy_rl.data.prompts import Prompt, within_length
from entropy_rl.data.tokenizers import countdown_tokenizer

TOKENIZER = countdown_tokenizer()


def make_prompts(num, first_id=100):
    ids = range(first_id, first_id + num)
    return [
        Prompt(prompt_id=i, content=f"{i}:", answer=str(i), data_source="test", origin=f"here:{i}")
        for i in ids
    ]


def make_pipeline(num=17, *, prompts_per_batch=5, seed=3, max_prompt_tokens=7):
    return PromptPipeline(
        make_prompts(num),
        TOKENIZER,
        prompts_per_batch=prompts_per_batch,
        max_prompt_tokens=max_prompt_tokens,
        seed=seed,
    )


def ids_of(pipeline, num_batches):
    return [batch.prompt_id_P.tolist() for batch in islice(pipeline, num_batches)]


def test_prompts_are_padded_on_the_left():
    short, long = make_prompts(2, first_id=99)
    batch = collate([short, long], TOKENIZER, 5)
    assert batch.prompt_mask_PS.tolist() == [
        [False, False, True, True, True],
        [False, True, True, True, True],
    ]
    assert batch.prompt_ids_PS[0].tolist() == [TOKENIZER.pad_id] * 2 + TOKENIZER.encode("99:")
    assert batch.prompt_ids_PS[1].tolist() == [TOKENIZER.pad_id] + TOKENIZER.encode("100:")
    assert batch.prompt_ids_PS.dtype == batch.prompt_id_P.dtype == np.int32
    assert batch.prompts == (short, long)


def test_an_epoch_holds_no_prompt_twice_and_leaves_out_less_than_a_batch():
    batches = ids_of(make_pipeline(17), 6)
    for epoch in (batches[:3], batches[3:]):
        assert len(set(np.concatenate(epoch).tolist())) == 15
    assert batches[:3] != batches[3:]


def test_every_prompt_is_drawn_in_time():
    drawn = np.concatenate(ids_of(make_pipeline(17), 60))
    assert set(drawn.tolist()) == set(range(100, 117))


def test_the_order_depends_on_the_seed_alone():
    assert ids_of(make_pipeline(seed=3), 5) == ids_of(make_pipeline(seed=3), 5)
    assert ids_of(make_pipeline(seed=3), 5) != ids_of(make_pipeline(seed=4), 5)


@pytest.mark.parametrize("num_before", [0, 1, 2, 3, 7])
def test_a_restored_position_continues_exactly_even_across_epochs(num_before):
    pipeline = make_pipeline()
    ids_of(pipeline, num_before)
    state = json.dumps(pipeline.get_state())
    expected = ids_of(pipeline, 8)
    restored = make_pipeline()
    ids_of(restored, 4)
    restored.set_state(json.loads(state))
    assert ids_of(restored, 8) == expected


def test_a_taken_position_does_not_move_with_the_pipeline():
    pipeline = make_pipeline()
    state = pipeline.get_state()
    before = json.dumps(state)
    next(pipeline)
    assert json.dumps(state) == before


@pytest.mark.parametrize("other", [{"num": 18}, {"prompts_per_batch": 4}, {"seed": 4}])
def test_a_position_in_other_data_is_refused(other):
    with pytest.raises(ValueError, match="same prompts, weights, size of batches and seed"):
        make_pipeline(**other).set_state(make_pipeline().get_state())


def test_too_long_prompts_are_left_out_and_counted():
    prompts = make_prompts(5, first_id=97)  # 97: 98: 99: have three characters, 100: 101: four
    pipeline = PromptPipeline(prompts, TOKENIZER, prompts_per_batch=3, max_prompt_tokens=3, seed=0)
    assert pipeline.num_too_long == 2
    assert sorted(next(pipeline).prompt_id_P.tolist()) == [97, 98, 99]


def test_no_prompt_short_enough_is_refused():
    with pytest.raises(ValueError, match="none of the 2 given has"):
        within_length(make_prompts(2), TOKENIZER, 3)


def test_collating_a_prompt_that_is_too_long_names_its_origin():
    with pytest.raises(ValueError, match="here:100 has 4"):
        collate(make_prompts(1), TOKENIZER, 3)


@pytest.mark.parametrize("prompts_per_batch", [0, 18])
def test_a_batch_must_fit_into_the_prompts(prompts_per_batch):
    with pytest.raises(ValueError, match="prompts_per_batch must be 1 to the number of usable prompts, 17"):
        make_pipeline(17, prompts_per_batch=prompts_per_batch)


def test_a_position_is_refused_where_another_judge_would_decide():
    """The data source of a prompt chooses its reward."""

    def position(**changes):
        prompts = [replace(prompt, **changes) for prompt in make_prompts(7)]
        return PromptPipeline(prompts, TOKENIZER, prompts_per_batch=3, max_prompt_tokens=7, seed=0)

    position().set_state(position().get_state())
    with pytest.raises(ValueError, match="same prompts"):
        position(data_source="other").set_state(position().get_state())

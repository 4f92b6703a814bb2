"""The order of a mixture: shares, epochs of each part, no repeats in a batch, exact resume."""

import json
from collections import Counter
from itertools import islice

import pytest

from entropy_rl.data.order import MixedOrder

PART_OF = [0] * 311 + [1] * 71 + [2] * 131
"""Parts of 311, 71 and 131 prompts; grain's shuffle of fewer is slow: it draws until a number is small."""


def make_order(weights=(5.0, 3.0, 2.0), *, per_batch=11, seed=0, part_of=PART_OF):
    return MixedOrder(part_of, weights, per_batch=per_batch, seed=seed)


def drawn_from(part, batches, part_of=PART_OF):
    return [index for batch in batches for index in batch if part_of[index] == part]


@pytest.mark.parametrize("weights", [(5.0, 3.0, 2.0), (1.0, 1.0, 1.0), (0.97, 0.02, 0.01), (1e-6, 7.0, 8.0)])
def test_every_part_keeps_its_share_of_all_prompts_so_far(weights):
    batches, counts = make_order(weights, per_batch=11), Counter()
    for num_batches, batch in enumerate(islice(batches, 60), start=1):
        counts.update(PART_OF[index] for index in batch)
        for part, weight in enumerate(weights):
            assert abs(counts[part] - 11 * num_batches * weight / sum(weights)) < 2


def test_every_stretch_of_a_batch_is_mixed_so_that_every_update_is():
    """Of ten places 5, 3 and 2 belong to the parts; a fifth of them misses that by less than one."""
    for batch in islice(make_order(per_batch=50), 20):
        counts = Counter(PART_OF[index] for index in batch[:10])
        assert [counts[part] for part in range(3)] == [5, 3, 2]


@pytest.mark.parametrize("per_batch", [1, 2, 11, 233])
def test_no_batch_holds_a_prompt_twice(per_batch):
    for batch in islice(make_order(per_batch=per_batch), 700 // per_batch):
        assert len(batch) == len(set(batch)) == per_batch


def test_each_part_goes_round_in_epochs_and_the_small_and_heavy_more_often():
    batches = list(islice(make_order(per_batch=10), 195))
    assert [len(drawn_from(part, batches)) for part in range(3)] == [975, 585, 390]
    # Two prompts of part 2 a batch: 65 batches take 130 of its 131 prompts, and then a new epoch begins.
    part_2 = drawn_from(2, batches)
    epochs = [part_2[start : start + 130] for start in range(0, 390, 130)]
    assert all(len(set(epoch)) == 130 for epoch in epochs) and len(set(map(tuple, epochs))) == 3
    # Three of part 1 a batch: 23 batches take 69 of its 71.
    part_1 = drawn_from(1, batches)
    assert all(len(set(part_1[start : start + 69])) == 69 for start in range(0, 552, 69))
    assert set(part_1) == set(range(311, 382))


def test_a_part_of_less_than_a_prompt_a_batch_is_drawn_whole_before_it_repeats():
    batches = list(islice(make_order((7.0, 2.0, 1.0), per_batch=5), 524))
    part_2 = drawn_from(2, batches)
    assert len(part_2) == 262
    assert all(len(set(part_2[start : start + 131])) == 131 for start in (0, 131))


def test_the_order_depends_on_seed_and_weights_alone():
    def first(**options):
        return list(islice(make_order(**options), 9))

    assert first() == first() != first(seed=1)
    assert first() == first(weights=(10.0, 6.0, 4.0)) != first(weights=(5.0, 3.0, 3.0))


def test_parts_of_the_same_size_are_shuffled_apart():
    batches = list(islice(make_order((1.0, 1.0), part_of=[0] * 101 + [1] * 101, per_batch=202), 2))
    assert all(batch[0::2] != [index - 101 for index in batch[1::2]] for batch in batches)


@pytest.mark.parametrize("num_before", [0, 1, 23, 67])
def test_a_restored_position_continues_exactly(num_before):
    order = make_order()
    list(islice(order, num_before))
    state = json.dumps(order.get_state())
    expected = list(islice(order, 31))
    restored = make_order()
    list(islice(restored, 3))
    restored.set_state(json.loads(state))
    assert list(islice(restored, 31)) == expected


def test_a_part_that_lags_has_no_more_places_than_prompts():
    """A share of 2.5 of 3 prompts is due 2 and 3 by turns, never 4."""
    order = make_order((1.0, 1.0), part_of=[0] * 5 + [1] * 3, per_batch=5)
    counts = [len([index for index in batch if index >= 5]) for batch in islice(order, 6)]
    assert set(counts) == {2, 3} and sum(counts) == 15


@pytest.mark.parametrize("weights, size", [((1.0, 3.0, 1.0), 71), ((5.0, 3.0, 2.0, 1.0), 0)])
def test_a_part_smaller_than_its_share_of_a_batch_is_refused(weights, size):
    with pytest.raises(ValueError, match=rf"part of a mixture must have as many.* has {size} for a share of"):
        make_order(weights, per_batch=122)

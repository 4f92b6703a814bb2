"""The plan of packed rows: every sequence exactly once, in one piece, with little padding, and soon made."""

import time
from pathlib import Path

import numpy as np
import pytest

from entropy_rl.config_file import load_config, topologies_of
from entropy_rl.plan.lengths import Lengths
from entropy_rl.training.layout import Packed
from entropy_rl.training.packing import OVERHEAD, Geometry, indices, place

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
RECIPES = sorted(file for size in ("7b", "32b") for file in CONFIGS.glob(f"qwen2_5_{size}_*.py"))
WIDTH = 10_240
"""The longest prompt and response of the paper's runs, 2,048 + 8,192."""


def geometry(num_sequences: int, num_shards: int = 1, **changes) -> Geometry:
    settings = dict(rows_per_shard=2, tokens_per_row=WIDTH, num_smaller_shapes=2)
    return Geometry.of(num_sequences=num_sequences, num_shards=num_shards, **(settings | changes))


PROMPTS = Lengths(mean=200.0, longest=2048).quantiles(1024)
RESPONSES = Lengths(mean=1000.0, longest=8192).quantiles(4096)


def papers_lengths(rng, num_prompts: int = 32, samples: int = 8) -> np.ndarray:
    """Slots of prompts of 200 tokens in the mean, 2,048 at most, and responses of 1,000 and 8,192."""
    prompt = rng.choice(PROMPTS, num_prompts)
    return np.repeat(prompt, samples) + rng.choice(RESPONSES, num_prompts * samples) - 1


def padding_fraction(length_B, shapes: Geometry) -> float:
    num_slots = np.dot(place(length_B, shapes).counts, shapes.slots)
    return 1 - length_B.sum() / num_slots


LENGTHS = {
    "uniform": lambda rng, num, slots: rng.integers(0, slots + 1, num),
    "geometric": lambda rng, num, slots: np.minimum(rng.geometric(0.2, num), slots),
    "all the longest": lambda rng, num, slots: np.full(num, slots),
    "just over a half": lambda rng, num, slots: np.full(num, slots // 2 + 1),
    "all of one": lambda rng, num, slots: np.ones(num, int),
    "nothing at all": lambda rng, num, slots: np.zeros(num, int),
}


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_every_sequence_lies_in_one_piece_in_one_row_that_is_run(lengths):
    for seed in range(30):
        rng = np.random.default_rng(seed)
        num, shards, rows, slots, smaller = rng.integers((1, 1, 1, 1, 0), (60, 9, 9, 50, 6)).tolist()
        cut = geometry(num, shards, rows_per_shard=rows, tokens_per_row=slots, num_smaller_shapes=smaller)
        length_B, first_B = lengths(rng, num, slots), 1000 * np.arange(num)
        placement = place(length_B, cut)
        arrays = indices(placement, first_B, length_B, cut)
        assert tuple(x.shape for x in arrays) == cut.array_shapes
        for index_MRC, count in zip(arrays, placement.counts, strict=True):
            assert 0 <= count <= len(index_MRC) and (index_MRC[count:] == -1).all()
        rows = [row_C for x in arrays for row_C in x.reshape(-1, x.shape[2])]
        pieces = [piece.tolist() for row_C in rows for piece in runs(row_C)]
        assert sorted(pieces) == [
            list(range(first, first + length))
            for first, length in zip(first_B, length_B, strict=True)
            if length
        ]


def runs(row_C: np.ndarray) -> list[np.ndarray]:
    """What lies in a row side by side, as long as each number is one more than that before."""
    pieces = np.split(row_C, np.flatnonzero(np.diff(row_C) != 1) + 1)
    return [piece for piece in pieces if piece[0] >= 0]


def test_the_first_slots_are_counted_through_the_arrays_one_after_another():
    length_B = papers_lengths(np.random.default_rng(0))
    cut = geometry(len(length_B), num_shards=4)
    placement = place(length_B, cut)
    arrays = indices(placement, 20_000 * np.arange(256), length_B, cut)
    flat = np.concatenate([x.reshape(-1) for x in arrays])
    np.testing.assert_array_equal(flat[placement.start_B], 20_000 * np.arange(256))


def mean_padding(layout: Packed, num_shards: int, num_prompts: int = 32, samples: int = 8) -> float:
    """Of 50 mini-batches of lengths like the paper's."""
    cut = layout.geometry(num_prompts * samples, WIDTH, num_shards)
    rng = np.random.default_rng(0)
    return np.mean([padding_fraction(papers_lengths(rng, num_prompts, samples), cut) for _ in range(50)])


@pytest.mark.parametrize("num_shards", [1, 4, 8, 16])
def test_padding_of_lengths_like_the_papers_is_at_most_five_percent(num_shards):
    assert mean_padding(Packed(), num_shards) <= 0.05


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_a_recipe_pads_at_most_five_percent_on_each_of_its_slices(file):
    for topology in topologies_of(file):
        config = load_config(file, topology)
        batch, task = config.batch, config.task
        assert task.max_prompt_tokens + task.max_response_tokens == WIDTH
        sequences = batch.prompts_per_update, batch.samples_per_prompt
        assert mean_padding(batch.layout, config.num_shards, *sequences) <= 0.05


def test_no_number_of_shapes_cures_a_mesh_on_which_a_row_a_shard_is_more_than_the_mini_batch():
    few, many = (mean_padding(Packed(num_smaller_shapes=number), 32) for number in (3, 5))
    assert 0.05 < many and few - many < 0.02


def test_a_smaller_shape_lessens_the_padding():
    rng = np.random.default_rng(1)
    batches = [papers_lengths(rng) for _ in range(20)]
    cuts = [geometry(256, 8, num_smaller_shapes=number) for number in (0, 2, 3)]
    means = [np.mean([padding_fraction(x, cut) for x in batches]) for cut in cuts]
    assert means[0] > means[1] > means[2]


def test_shapes_quarter_the_rows_of_a_shard_first_and_then_the_slots_of_a_row():
    cut = geometry(99, 4, rows_per_shard=3, tokens_per_row=100, num_smaller_shapes=3)
    assert cut.shapes == ((12, 100), (4, 100), (4, 25), (4, 7))
    assert cut.array_shapes == ((9, 12, 100), (3, 4, 100), (3, 4, 25), (3, 4, 7))
    narrow = geometry(99, 1, rows_per_shard=1, tokens_per_row=3, num_smaller_shapes=9)
    assert narrow.shapes == ((1, 3), (1, 1))


def test_a_micro_batch_has_no_more_rows_than_there_are_sequences():
    cut = geometry(10, 4, rows_per_shard=1000)
    assert cut.shapes[0] == (12, WIDTH) and cut.max_full == 1


def test_one_sequence_takes_the_smallest_micro_batch_that_holds_it():
    cut = geometry(16, 1, rows_per_shard=2, tokens_per_row=64, num_smaller_shapes=3)  # 64, 64, 16, 4 slots
    for length, counts in ((64, (0, 1, 0, 0)), (16, (0, 0, 1, 0)), (4, (0, 0, 0, 1)), (1, (0, 0, 0, 1))):
        assert place(np.array([length] + 15 * [0]), cut).counts == counts


def test_a_micro_batch_more_must_save_more_than_it_costs():
    # Slots of 128, 32, 8 and 2: a micro-batch more costs 2.
    cut = geometry(128, 1, rows_per_shard=1, tokens_per_row=128, num_smaller_shapes=3)
    assert OVERHEAD * 128 == 2
    # 126 = 3 x 32 + 3 x 8 + 3 x 2 costs 126 + 9 x 2, one full one 128 + 2.
    assert place(np.ones(126, int), cut).counts == (1, 0, 0, 0)
    # 104 = 3 x 32 + 8 costs 104 + 4 x 2.
    assert place(np.ones(104, int), cut).counts == (0, 3, 1, 0)


def test_a_sequence_longer_than_a_row_is_refused():
    with pytest.raises(ValueError, match="must hold the longest sequence, got rows of 10240 slots and a"):
        place(np.array([7, 10_241]), geometry(2))


@pytest.mark.parametrize("num_shards", [1, 16])
def test_two_thousand_sequences_are_placed_within_a_tenth_of_a_second(num_shards):
    length_B = papers_lengths(np.random.default_rng(0), num_prompts=256)
    cut, seconds = geometry(len(length_B), num_shards), []
    for _ in range(5):
        start = time.process_time()
        place(length_B, cut)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.1

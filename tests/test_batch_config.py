"""Settings of batches that cannot work are refused with what to change; the layout reaches the learner."""

from dataclasses import replace

import pytest

from entropy_rl.config import BatchConfig, Evaluation
from entropy_rl.data.tokenizers import countdown_tokenizer
from entropy_rl.parallelism import MeshConfig
from entropy_rl.training.layout import Packed, Padded
from tests.policies import TINY, tiny_policy
from tests.runs import make_config


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prompts_per_update": 3}, "batch.prompts_per_update must be a divisor of batch.prompts_per_step"),
        (
            {"layout": Padded(num_microbatches=3)},
            "batch.layout.num_microbatches must be a divisor of batch.prompts_per_update, got 3 and 4",
        ),
    ],
)
def test_parts_must_divide_their_whole(settings, message):
    with pytest.raises(ValueError, match=message):
        BatchConfig(**({"prompts_per_step": 8, "prompts_per_update": 4} | settings))


@pytest.mark.parametrize(
    ("layout", "what"),
    [(Padded(num_microbatches=2), "the prompts of a micro-batch"), (Packed(), "batch.prompts_per_update")],
)
def test_a_mesh_must_divide_what_it_cuts(tmp_path, layout, what):
    batch = BatchConfig(prompts_per_step=8, prompts_per_update=4, layout=layout)
    with pytest.raises(ValueError, match=f"mesh.data \\* mesh.fsdp must divide {what}, got 8 and"):
        make_config(tmp_path, batch=batch, mesh=MeshConfig(data=2, fsdp=4))


@pytest.mark.parametrize("prompts_per_wave", [0, -2, 3, 10])
def test_a_wave_is_a_multiple_of_the_shards_and_at_most_a_step(tmp_path, prompts_per_wave):
    batch = BatchConfig(prompts_per_step=8, prompts_per_update=4, prompts_per_wave=prompts_per_wave)
    with pytest.raises(
        ValueError, match=f"a multiple of mesh.data \\* mesh.fsdp = 2 .*, got {prompts_per_wave}"
    ):
        make_config(tmp_path, batch=batch, mesh=MeshConfig(fsdp=2))


def test_a_budget_below_one_row_is_refused_before_anything_runs(tmp_path):
    batch = BatchConfig(prompts_per_step=4, prompts_per_update=2, layout=Packed(tokens_per_device=3))
    with pytest.raises(ValueError, match="raise batch.layout.tokens_per_device"):
        make_config(tmp_path, batch=batch)


def test_the_learner_works_in_the_layout_of_the_settings(tmp_path):
    config = make_config(tmp_path)
    for layout in (Packed(num_smaller_shapes=2), Padded(num_microbatches=2)):
        laid = replace(config, batch=replace(config.batch, layout=layout))
        assert laid.learner(laid.policy_of(TINY)).layout == layout


@pytest.mark.parametrize(
    ("settings", "num_samples", "prompts"),
    [
        ({}, 8, 16),  # as many as in training: all of a step
        ({"prompts_per_wave": 8}, 8, 8),
        ({"prompts_per_wave": 8}, 32, 2),
        ({"prompts_per_wave": 14}, 16, 6),  # 7 prompts would be too many for one shard
        ({"prompts_per_wave": 8}, 1, 64),
        ({"prompts_per_wave": 2}, 32, 2),  # one for each shard, however many samples there are
    ],
)
def test_a_wave_of_evaluation_has_no_more_sequences_than_one_of_training(
    tmp_path, settings, num_samples, prompts
):
    batch = BatchConfig(prompts_per_step=16, samples_per_prompt=8, prompts_per_update=4, **settings)
    mesh, evaluation = MeshConfig(data=2, tensor=3), Evaluation(num_samples=num_samples)
    config = make_config(tmp_path, batch=batch, mesh=mesh, evaluation=evaluation)
    sampler = config.evaluation_sampler(tiny_policy()[0], countdown_tokenizer())
    assert (sampler.num_samples, sampler.prompts_per_wave) == (num_samples, prompts)

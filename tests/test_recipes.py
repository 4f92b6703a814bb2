"""The published recipes: every number that decides a result is the paper's or its scripts', written out here.

Paper: arXiv 2505.22617, section 4.3. Scripts: verl-recipe, entropy/*.sh, and the authors' fork for the two
baselines that verl-recipe lacks.
"""

import ast
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from entropy_rl.config import BatchConfig
from entropy_rl.config_file import load_config, topologies_of
from entropy_rl.data.schemas import DapoMath
from entropy_rl.data.tokenizers import countdown_tokenizer
from entropy_rl.dynamic_sampling import RewardsDiffer
from entropy_rl.evaluation import PAPER
from entropy_rl.models.policy import Policy
from entropy_rl.objectives import ClipCov, GroupAdvantage, KLCov, MinibatchScope, PPOClip, TokenMean
from entropy_rl.parallelism import MeshConfig
from entropy_rl.suite_evaluation import SuiteEvaluation
from entropy_rl.training.optimizer import AdamW

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
CLIP = PPOClip(eps_low=0.2, eps_high=0.2, dual_clip=10.0)
CLIP_HIGHER = PPOClip(eps_low=0.2, eps_high=0.28, dual_clip=10.0)
CLIP_COV = ClipCov(fraction=0.0002, cov_low=1.0, cov_high=5.0, eps_low=1.0, eps_high=1.0)
OBJECTIVES = {
    "qwen2_5_7b_grpo": CLIP,
    "qwen2_5_7b_clip_higher": CLIP_HIGHER,
    "qwen2_5_7b_clip_cov": CLIP_COV,
    "qwen2_5_7b_kl_cov": KLCov(fraction=0.002, penalty_coef=1.0),
    "qwen2_5_32b_grpo": CLIP,
    "qwen2_5_32b_clip_higher": CLIP_HIGHER,
    "qwen2_5_32b_clip_cov": CLIP_COV,
    "qwen2_5_32b_kl_cov": KLCov(fraction=0.0002, penalty_coef=1.0),
    "qwen2_5_32b_kl_cov_mininbsz": KLCov(fraction=0.0002, penalty_coef=1.0),
}
"""Table 2's rows and the script without a row."""
PUBLISHED = {
    "qwen2_5_7b_grpo": "21.2 9.6 58.7 78.8 27.9 40.7 36.7 38.6",
    "qwen2_5_7b_clip_higher": "18.1 11.5 56.6 79.2 29.8 43.3 40.4 38.8",
    "qwen2_5_7b_clip_cov": "22.1 15.8 58.2 80.4 30.5 44.1 41.1 40.4",
    "qwen2_5_7b_kl_cov": "22.6 12.9 61.4 80.8 29.1 42.6 38.2 40.6",
    "qwen2_5_32b_grpo": "21.8 16.2 69.7 84.2 35.2 43.6 45.5 45.8",
    "qwen2_5_32b_clip_higher": "35.6 22.3 69.5 77.2 35.1 42.5 43.0 47.2",
    "qwen2_5_32b_clip_cov": "32.3 22.7 67.2 87.0 42.0 57.2 46.0 50.3",
    "qwen2_5_32b_kl_cov": "36.8 30.8 74.5 84.6 39.1 49.0 46.3 52.2",
}
"""Table 2: AIME24, AIME25, AMC, MATH500, OMNI, OlympiadBench, Minerva; then the printed mean."""
SLICES = {"7b": ("v5p:2x2x4", "v6e:4x4"), "32b": ("v5p:4x4x4", "v6e:8x8")}
CHIPS = {"v5p:2x2x4": 16, "v6e:4x4": 16, "v5p:4x4x4": 64, "v6e:8x8": 64, "h100:1": 1, "v5e:2x4": 8}

recipes = pytest.mark.parametrize("name", OBJECTIVES)


def recipe(name, topology=None):
    return load_config(CONFIGS / f"{name}.py", topology)


def without_how(config):
    """The configuration with the fields that may depend on the slice as they are by default."""
    default = BatchConfig()
    return replace(
        config,
        mesh=MeshConfig(),
        batch=replace(config.batch, prompts_per_wave=default.prompts_per_wave),
        policy=replace(config.policy, rematerialize="none"),
    )


def size_of(name):
    return name.split("_")[2]


def test_there_are_nine_recipes():
    named = [path.stem for path in CONFIGS.glob("qwen2_5_*.py") if "gsm8k" not in path.stem]
    assert sorted(named) == sorted(OBJECTIVES)


@recipes
def test_the_objective_is_the_published_one(name):
    objective = recipe(name).objective
    assert objective == OBJECTIVES[name]
    assert getattr(objective, "scope", MinibatchScope()) == MinibatchScope(at_least_one=False)


@recipes
def test_a_rollout_is_256_prompts_with_8_samples_and_8_or_16_updates(name):
    batch = recipe(name).batch
    assert (batch.prompts_per_step, batch.samples_per_prompt) == (256, 8)
    assert batch.updates_per_step == (16 if name.endswith("mininbsz") else 8)
    assert batch.prompts_per_update == (16 if name.endswith("mininbsz") else 32)
    assert batch.layout.tokens_per_device == {"7b": 30_720, "32b": 20_480}[size_of(name)]


@recipes
def test_the_task_is_dapo_with_2048_and_8192_tokens_asked_for_in_a_box(name):
    task = recipe(name).task
    assert (task.max_prompt_tokens, task.max_response_tokens) == (2048, 8192)
    assert task.train.schema == DapoMath() and task.train.path.name == "dapo-math-17k.parquet"
    row = {"problem": "1+1?", "answer": "2"}
    (message,), answer = task.heldout.schema.read(row)
    assert r"\boxed" in message.content and answer == "2"


@recipes
def test_groups_whose_rewards_differ_are_sought_in_at_most_10_batches_of_256_as_in_the_authors_fork(name):
    dynamic = recipe(name).dynamic_sampling
    assert dynamic.filter == RewardsDiffer()
    assert (dynamic.prompts_per_gen_batch, dynamic.max_gen_batches) == (256, 10)


@recipes
def test_sampling_is_the_plain_policy(name):
    sampling = recipe(name).sampling
    assert sampling.temperature == 1.0 and not sampling.truncates and sampling.min_new_tokens == 0


@recipes
def test_the_optimiser_is_adamw_at_a_constant_1e_6_without_decay_clipped_at_norm_1(name):
    optimizer = recipe(name).optimizer
    assert isinstance(optimizer, AdamW)
    assert (optimizer.learning_rate, optimizer.warmup_updates) == (1e-6, 0)
    assert (optimizer.b1, optimizer.b2, optimizer.eps) == (0.9, 0.999, 1e-8)
    assert (optimizer.weight_decay, optimizer.max_grad_norm) == (0.0, 1.0)


@recipes
def test_loss_and_advantage_are_grpo_s_token_mean_without_kl_or_entropy_terms(name):
    config = recipe(name)
    assert config.aggregation == TokenMean()
    assert config.advantage == GroupAdvantage(normalize_by_std=True, eps=1e-6)
    assert (config.regularizer.entropy_coef, config.regularizer.kl_coef) == (0.0, 0.0)
    assert config.warm_start is None


@recipes
def test_evaluation_is_the_paper_s_aime_protocol_every_4_rollouts(name):
    evaluation = recipe(name).evaluation
    assert (evaluation.every_steps, evaluation.num_samples, evaluation.max_prompts) == (4, 32, None)
    assert evaluation.sampling.temperature == 0.6 and not evaluation.sampling.truncates


@recipes
def test_a_wave_of_evaluation_fits_where_training_s_does(name):
    for topology in SLICES[size_of(name)]:
        config = recipe(name, topology)
        sampler = config.evaluation_sampler(Policy(config.policy.architecture), countdown_tokenizer())
        at_once = sampler.prompts_per_wave * sampler.num_samples
        assert at_once <= config.batch.prompts_per_wave * config.batch.samples_per_prompt
        assert sampler.prompts_per_wave % (config.mesh.data * config.mesh.fsdp) == 0


@recipes
def test_the_paper_s_suite_validates_every_32_rollouts_and_at_the_end(name):
    validation = recipe(name).validation
    assert validation.suite == PAPER and (validation.every_steps, validation.at_end) == (32, True)
    assert recipe(name).task.heldout == PAPER.file_of(PAPER.benchmarks[0])


@recipes
def test_a_batch_of_validation_fits_where_a_wave_of_training_does(name):
    for topology in SLICES[size_of(name)]:
        config = recipe(name, topology)
        at_once = config.validation.at_once(config.sequences_at_once, config.task.max_response_tokens)
        evaluation = SuiteEvaluation(suite=PAPER, mesh=config.mesh, sequences_at_once=at_once)
        for benchmark in PAPER.benchmarks:
            tokens = 2048 + benchmark.num_samples * 8192
            most = config.batch.prompts_per_wave * (2048 + 8 * 8192)
            assert evaluation.problems_per_batch(benchmark) * tokens <= most


@recipes
def test_the_run_is_as_long_as_the_paper_s_curves(name):
    assert recipe(name).num_steps == {"7b": 352, "32b": 144}[size_of(name)]  # 2816 and 1152 updates, by 8


@recipes
def test_checkpoints_are_four_times_as_many_as_the_scripts_make(name):
    assert recipe(name).checkpoint_every_steps == 32 // 4  # spot slices are taken away within hours


@recipes
def test_the_policy_is_published_qwen_in_f32_that_computes_in_bf16(name):
    policy = recipe(name).policy
    sizes = {"7b": (28, 3584, 18944, 28, 4, 128, 152064), "32b": (64, 5120, 27648, 40, 8, 128, 152064)}
    known = policy.architecture
    assert sizes[size_of(name)] == (
        known.num_layers,
        known.hidden_size,
        known.intermediate_size,
        known.num_heads,
        known.num_kv_heads,
        known.head_dim,
        known.vocab_size,
    )
    assert known.rope_theta == 1e6 and not known.tie_embeddings and not known.qk_norm
    assert policy.directory.name == f"Qwen2.5-{size_of(name).upper()}"
    assert (policy.param_dtype, policy.compute_dtype) == ("float32", "bfloat16")


@recipes
def test_a_recipe_names_its_slices_and_its_mesh_is_all_of_each(name):
    topologies = topologies_of(CONFIGS / f"{name}.py")
    assert topologies == SLICES[size_of(name)]
    for topology in topologies:
        mesh = recipe(name, topology).mesh
        assert math.prod((mesh.data, mesh.fsdp, mesh.tensor)) == CHIPS[topology]
    assert recipe(name) == recipe(name, topologies[0])


@recipes
def test_what_is_computed_does_not_depend_on_the_slice(name):
    one, other = (without_how(recipe(name, topology)) for topology in SLICES[size_of(name)])
    assert one == other


@recipes
def test_the_docstring_tells_hardware_and_results_and_claims_no_run(name):
    text = ast.get_docstring(ast.parse((CONFIGS / f"{name}.py").read_text()))
    assert all(topology in text for topology in SLICES[size_of(name)])
    assert "Not run by us" in text
    assert set(PUBLISHED.get(name, "").split()) <= set(re.findall(r"\d+\.\d", text))


@pytest.mark.parametrize("size", ["0_5b", "1_5b"])
def test_the_gsm8k_configurations_fit_the_machines_they_name(size):
    path = CONFIGS / f"qwen2_5_{size}_gsm8k_kl_cov.py"
    assert topologies_of(path) == ("h100:1", "v5e:2x4")
    for topology in topologies_of(path):
        mesh = load_config(path, topology).mesh
        assert math.prod((mesh.data, mesh.fsdp, mesh.tensor)) == CHIPS[topology]


def test_a_slice_that_a_file_does_not_name_is_refused():
    with pytest.raises(ValueError, match="planned for .v5p:2x2x4, v6e:4x4"):
        recipe("qwen2_5_7b_grpo", "v4:2x2x2")
    with pytest.raises(ValueError, match="none"):
        recipe("tiny_kl_cov", "v4:2x2x2")

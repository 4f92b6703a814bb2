"""KL-Cov on GSM8K with Qwen2.5-0.5B, for one GPU or a v5e-8: the paper's recipe, answers up to 1,024 tokens.

    python -m entropy_rl train --config configs/qwen2_5_0_5b_gsm8k_kl_cov.py

It reads policies/Qwen2.5-0.5B (the base model's Hugging Face folder) and GSM8K's two JSONL files.
The optimiser's state and the f32 parameters take 6 GB, the KV cache of a rollout 26.5 GB: fit for one GPU of
80 GB, or for the eight chips of a v5e-8 (--topology v5e:2x4).
Not run by us; no published result.
"""

from pathlib import Path

from entropy_rl.config import BatchConfig, Evaluation, PolicyConfig, RunConfig
from entropy_rl.data.prompt_files import PromptFile
from entropy_rl.data.schemas import GSM8K
from entropy_rl.data.tasks import PromptFileTask
from entropy_rl.models.config import QWEN2_5
from entropy_rl.objectives import KLCov
from entropy_rl.parallelism import MeshConfig
from entropy_rl.sampler import GREEDY
from entropy_rl.training.optimizer import AdamW

TOPOLOGIES = ("h100:1", "v5e:2x4")
"""What this configuration was sized for; the first is taken when none is named."""

MESHES = {"h100:1": MeshConfig(), "v5e:2x4": MeshConfig(fsdp=8)}


def get_config(topology: str = TOPOLOGIES[0]) -> RunConfig:
    return RunConfig(
        name="qwen2_5_0_5b_gsm8k_kl_cov",
        policy=PolicyConfig(
            directory=Path("policies/Qwen2.5-0.5B"),
            architecture=QWEN2_5["0.5B"],
            compute_dtype="bfloat16",
            rematerialize="layer",
        ),
        task=PromptFileTask(
            train=PromptFile(path=Path("data/gsm8k/train.jsonl"), schema=GSM8K()),
            heldout=PromptFile(path=Path("data/gsm8k/test.jsonl"), schema=GSM8K()),
            max_prompt_tokens=256,
            max_response_tokens=1024,
        ),
        objective=KLCov(fraction=2e-3, penalty_coef=1.0),
        optimizer=AdamW(learning_rate=1e-6),
        batch=BatchConfig(prompts_per_step=256, samples_per_prompt=8, prompts_per_update=32),
        mesh=MESHES[topology],
        evaluation=Evaluation(every_steps=20, num_samples=1, sampling=GREEDY),
        num_steps=100,
    )

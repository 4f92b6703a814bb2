"""GRPO on GSM8K with Qwen2.5-Coder-1.5B-Instruct on one GPU of 80 to 140 GB, beside Clip-Cov and KL-Cov.

    python -m entropy_rl train --config configs/gsm8k_gpu_grpo.py

`launch/gsm8k_gpu.sh DIR` trains all three, each for as long as it is given, and draws their curves. It reads
policies/qwen2.5-coder-1.5b (any Hugging Face folder by --policy.directory) and GSM8K's two JSONL files.
A step is 128 prompts x 8 answers of at most 512 tokens and 4 updates, in 3 of which the objectives differ.
Every 10 steps the first 256 test problems are asked, greedily and 4 times at temperature 1. Parameters and
the optimiser's state take 18.5 GB, and as much on the disk: one checkpoint is kept.
By `plan --topology h200:1 --estimate` it takes 36.7 GiB and 8 s a step at the roofline.
Not run by us on a GPU; no published result.
"""

from pathlib import Path

from entropy_rl.config import BatchConfig, Evaluation, PolicyConfig, RunConfig
from entropy_rl.data.prompt_files import PromptFile
from entropy_rl.data.schemas import GSM8K
from entropy_rl.data.tasks import PromptFileTask
from entropy_rl.objectives import PPOClip
from entropy_rl.training.optimizer import AdamW

TOPOLOGIES = ("h200:1", "h100:1")
"""What this configuration was sized for; the first is taken when none is named."""


def get_config(topology: str = TOPOLOGIES[0]) -> RunConfig:
    return RunConfig(
        name="gsm8k_gpu_grpo",
        policy=PolicyConfig(directory=Path("policies/qwen2.5-coder-1.5b"), rematerialize="layer"),
        task=PromptFileTask(
            train=PromptFile(path=Path("data/gsm8k/train.jsonl"), schema=GSM8K()),
            heldout=PromptFile(path=Path("data/gsm8k/test.jsonl"), schema=GSM8K()),
            max_prompt_tokens=256,
            max_response_tokens=512,
            num_judges=8,
        ),
        objective=PPOClip(),
        optimizer=AdamW(learning_rate=1e-6),
        batch=BatchConfig(prompts_per_step=128, samples_per_prompt=8, prompts_per_update=32),
        evaluation=Evaluation(every_steps=10, num_samples=4, max_prompts=256, greedy=True),
        num_steps=200,
        checkpoint_every_steps=20,
        keep_checkpoints=1,
    )

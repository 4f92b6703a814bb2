"""KL-Cov on GSM8K with a pretrained policy, answers asked for in a box and judged by math-verify.

Sized for a first look on a CPU with a policy of 135 million parameters; for real training raise the batch.

    python -m entropy_rl train --config configs/gsm8k_kl_cov.py --policy.directory policies/smollm2-135m \\
        --task.train.path data/gsm8k/train.jsonl --task.heldout.path data/gsm8k/test.jsonl

The policy folder is any Hugging Face folder of a Qwen2 model with its tokenizer; the files are GSM8K's JSONL.
"""

from pathlib import Path

from entropy_rl.config import BatchConfig, Evaluation, PolicyConfig, RunConfig
from entropy_rl.data.prompt_files import PromptFile
from entropy_rl.data.schemas import GSM8K
from entropy_rl.data.tasks import PromptFileTask
from entropy_rl.objectives import KLCov
from entropy_rl.training.layout import Padded
from entropy_rl.training.optimizer import AdamW


def get_config() -> RunConfig:
    return RunConfig(
        name="gsm8k_kl_cov",
        policy=PolicyConfig(directory=Path("policies/smollm2-135m"), compute_dtype="float32"),
        task=PromptFileTask(
            train=PromptFile(path=Path("data/gsm8k/train.jsonl"), schema=GSM8K()),
            heldout=PromptFile(path=Path("data/gsm8k/test.jsonl"), schema=GSM8K()),
            max_prompt_tokens=256,
            max_response_tokens=192,
        ),
        objective=KLCov(fraction=2e-3, penalty_coef=1.0),
        optimizer=AdamW(learning_rate=1e-6),
        batch=BatchConfig(prompts_per_step=8, samples_per_prompt=4, prompts_per_update=2, layout=Padded()),
        evaluation=Evaluation(at_end=False, num_samples=4, max_prompts=64),
        num_steps=3,
        checkpoint_every_steps=3,
    )

"""One step of a policy of 1.5 billion parameters within 24 GiB, on a CPU: a proof of size, not training.

Parameters are kept in bfloat16 and the optimiser is Adafactor, whose state is a few megabytes: with AdamW's
moments the update would need 29 GiB, even with a bfloat16 first moment. Activations are f32. The batch is the
smallest that KL-Cov works with, two updates of one prompt with 4 samples; its fraction is raised so that some
tokens are selected.

    python -m entropy_rl train --config configs/gsm8k_1_5b_cpu.py \\
        --policy.directory policies/qwen2.5-coder-1.5b \\
        --task.train.path data/gsm8k/train.jsonl --task.heldout.path data/gsm8k/test.jsonl
"""

from dataclasses import replace
from pathlib import Path

from entropy_rl.config import BatchConfig, PolicyConfig, RunConfig
from entropy_rl.config_file import load_config
from entropy_rl.objectives import KLCov
from entropy_rl.training.layout import Padded
from entropy_rl.training.optimizer import Adafactor


def get_config() -> RunConfig:
    base = load_config(Path(__file__).with_name("gsm8k_kl_cov.py"))
    return replace(
        base,
        name="gsm8k_1_5b_cpu",
        policy=PolicyConfig(
            directory=Path("policies/qwen2.5-coder-1.5b"),
            param_dtype="bfloat16",
            compute_dtype="float32",
            rematerialize="layer",
        ),
        task=replace(base.task, max_response_tokens=192),
        objective=KLCov(fraction=0.02),
        optimizer=Adafactor(learning_rate=1e-6),
        batch=BatchConfig(prompts_per_step=2, samples_per_prompt=4, prompts_per_update=1, layout=Padded()),
        num_steps=1,
    )

"""KL-Cov on GSM8K with Qwen2.5-1.5B, for one GPU or a v5e-8: the paper's recipe, answers up to 1,024 tokens.

    python -m entropy_rl train --config configs/qwen2_5_1_5b_gsm8k_kl_cov.py

It reads policies/Qwen2.5-1.5B (the base model's Hugging Face folder) and GSM8K's two JSONL files.
The optimiser's state and the f32 parameters take 19 GB, the KV cache of a rollout 62 GB in one piece: fit for
one GPU of 80 GB in waves, or for the eight chips of a v5e-8 (--topology v5e:2x4).
Not run by us; no published result.
"""

from dataclasses import replace
from pathlib import Path

from entropy_rl.config import RunConfig
from entropy_rl.config_file import load_config
from entropy_rl.models.config import QWEN2_5

TOPOLOGIES = ("h100:1", "v5e:2x4")
"""What this configuration was sized for; the first is taken when none is named."""


def get_config(topology: str = TOPOLOGIES[0]) -> RunConfig:
    base = load_config(Path(__file__).with_name("qwen2_5_0_5b_gsm8k_kl_cov.py"), topology)
    return replace(
        base,
        name="qwen2_5_1_5b_gsm8k_kl_cov",
        batch=replace(base.batch, prompts_per_wave=64),
        policy=replace(base.policy, directory=Path("policies/Qwen2.5-1.5B"), architecture=QWEN2_5["1.5B"]),
    )

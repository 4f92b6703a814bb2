"""Plain GRPO on DAPO-Math-17k with Qwen2.5-32B: the baseline of arXiv 2505.22617, base of its variants.

    python -m entropy_rl plan --config configs/qwen2_5_32b_grpo.py
    python -m entropy_rl train --config configs/qwen2_5_32b_grpo.py

Planned for 64 v5p chips (v5p:4x4x4) and 64 v6e chips (v6e:8x8, by --topology v6e:8x8). Not run by us.
It also fits 32 v5p chips (--topology v5p:2x4x4 --batch.prompts-per-wave 64).

It reads policies/Qwen2.5-32B (the base model's Hugging Face folder) and the data of qwen2_5_7b_grpo.py, whose
settings it shares; where the paper, the published scripts and this file differ is told there. The learning
rate is 1e-6 in the verl recipe and in the authors' fork alike. The paper's curves at 32B end at about 1,152
updates, 144 rollouts.

Published, percent (mean of the seven as printed 45.8):

    AIME24 21.8   AIME25 16.2   AMC 69.7   MATH500 84.2   OMNI 35.2   Olympiad 43.6   Minerva 45.5
"""

from dataclasses import replace
from pathlib import Path

from entropy_rl.config import RunConfig
from entropy_rl.config_file import load_config
from entropy_rl.models.config import QWEN2_5
from entropy_rl.parallelism import MeshConfig

TOPOLOGIES = ("v5p:4x4x4", "v6e:8x8")
"""Slices this recipe was planned for; the first is taken when none is named."""

PROMPTS_PER_WAVE = {"v5p:4x4x4": 256, "v6e:8x8": 64}
"""The largest waves whose KV cache fits when all responses are of 8,192 tokens."""


def get_config(topology: str = TOPOLOGIES[0]) -> RunConfig:
    base = load_config(Path(__file__).with_name("qwen2_5_7b_grpo.py"))
    return replace(
        base,
        name="qwen2_5_32b_grpo",
        policy=replace(base.policy, directory=Path("policies/Qwen2.5-32B"), architecture=QWEN2_5["32B"]),
        batch=replace(
            base.batch,
            prompts_per_wave=PROMPTS_PER_WAVE[topology],
            layout=replace(base.batch.layout, tokens_per_device=20_480),
        ),
        mesh=MeshConfig(fsdp=8, tensor=8),
        num_steps=144,
    )

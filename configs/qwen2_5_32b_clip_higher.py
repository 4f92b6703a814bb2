"""GRPO with a higher upper clip on DAPO-Math-17k with Qwen2.5-32B (arXiv 2505.22617).

    python -m entropy_rl plan --config configs/qwen2_5_32b_clip_higher.py
    python -m entropy_rl train --config configs/qwen2_5_32b_clip_higher.py

Planned for 64 v5p chips (v5p:4x4x4) and 64 v6e chips (v6e:8x8, by --topology v6e:8x8). Not run by us.

Ratios are clipped to [0.8, 1.28] (the paper's section 4.3 and the authors' fork, which gives this run alone
10,240 tokens a micro-batch and a validation before training; the verl recipe has no such script). The rest,
and where the sources differ, is in qwen2_5_32b_grpo.py and
qwen2_5_7b_grpo.py.

Published, percent (mean of the seven as printed 47.2):

    AIME24 35.6   AIME25 22.3   AMC 69.5   MATH500 77.2   OMNI 35.1   Olympiad 42.5   Minerva 43.0
"""

from dataclasses import replace
from pathlib import Path

from entropy_rl.config import RunConfig
from entropy_rl.config_file import load_config
from entropy_rl.objectives import PPOClip

TOPOLOGIES = ("v5p:4x4x4", "v6e:8x8")
"""Slices this recipe was planned for; the first is taken when none is named."""


def get_config(topology: str = TOPOLOGIES[0]) -> RunConfig:
    base = load_config(Path(__file__).with_name("qwen2_5_32b_grpo.py"), topology)
    return replace(
        base,
        name="qwen2_5_32b_clip_higher",
        objective=PPOClip(eps_low=0.2, eps_high=0.28, dual_clip=10.0),
    )

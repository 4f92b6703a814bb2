"""GRPO with a higher upper clip on DAPO-Math-17k with Qwen2.5-7B (arXiv 2505.22617).

    python -m entropy_rl plan --config configs/qwen2_5_7b_clip_higher.py
    python -m entropy_rl train --config configs/qwen2_5_7b_clip_higher.py

Planned for 16 v5p chips (v5p:2x2x4) and 16 v6e chips (v6e:4x4, by --topology v6e:4x4). Not run by us.

Ratios are clipped to [0.8, 1.28] (the paper's section 4.3 and the authors' fork, which gives this run alone
10,240 tokens a micro-batch and a validation before training; the verl recipe has no such script). The rest,
and where the sources differ, is in qwen2_5_7b_grpo.py.

Published, percent (mean of the seven as printed 38.8):

    AIME24 18.1   AIME25 11.5   AMC 56.6   MATH500 79.2   OMNI 29.8   Olympiad 43.3   Minerva 40.4
"""

from dataclasses import replace
from pathlib import Path

from entropy_rl.config import RunConfig
from entropy_rl.config_file import load_config
from entropy_rl.objectives import PPOClip

TOPOLOGIES = ("v5p:2x2x4", "v6e:4x4")
"""Slices this recipe was planned for; the first is taken when none is named."""


def get_config(topology: str = TOPOLOGIES[0]) -> RunConfig:
    base = load_config(Path(__file__).with_name("qwen2_5_7b_grpo.py"), topology)
    return replace(
        base,
        name="qwen2_5_7b_clip_higher",
        objective=PPOClip(eps_low=0.2, eps_high=0.28, dual_clip=10.0),
    )

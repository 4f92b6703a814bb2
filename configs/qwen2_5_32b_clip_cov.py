"""Clip-Cov on DAPO-Math-17k with Qwen2.5-32B (arXiv 2505.22617).

    python -m entropy_rl plan --config configs/qwen2_5_32b_clip_cov.py
    python -m entropy_rl train --config configs/qwen2_5_32b_clip_cov.py

Planned for 64 v5p chips (v5p:4x4x4) and 64 v6e chips (v6e:8x8, by --topology v6e:8x8). Not run by us.

2e-4 of the tokens, drawn from those with a covariance between 1 and 5, lose their gradient; ratios are
clipped to [0, 2]: as at 7B, see qwen2_5_7b_clip_cov.py. The rest, and where the sources differ, is in
qwen2_5_32b_grpo.py and qwen2_5_7b_grpo.py.

Published, percent (mean of the seven as printed 50.3):

    AIME24 32.3   AIME25 22.7   AMC 67.2   MATH500 87.0   OMNI 42.0   Olympiad 57.2   Minerva 46.0
"""

from dataclasses import replace
from pathlib import Path

from entropy_rl.config import RunConfig
from entropy_rl.config_file import load_config
from entropy_rl.objectives import ClipCov

TOPOLOGIES = ("v5p:4x4x4", "v6e:8x8")
"""Slices this recipe was planned for; the first is taken when none is named."""


def get_config(topology: str = TOPOLOGIES[0]) -> RunConfig:
    base = load_config(Path(__file__).with_name("qwen2_5_32b_grpo.py"), topology)
    return replace(
        base,
        name="qwen2_5_32b_clip_cov",
        objective=ClipCov(fraction=2e-4, cov_low=1.0, cov_high=5.0, eps_low=1.0, eps_high=1.0),
    )

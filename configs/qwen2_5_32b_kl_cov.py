"""KL-Cov on DAPO-Math-17k with Qwen2.5-32B (arXiv 2505.22617).

    python -m entropy_rl plan --config configs/qwen2_5_32b_kl_cov.py
    python -m entropy_rl train --config configs/qwen2_5_32b_kl_cov.py

Planned for 64 v5p chips (v5p:4x4x4) and 64 v6e chips (v6e:8x8, by --topology v6e:8x8). Not run by us.

2e-4 of the tokens are penalised, a tenth of the fraction at 7B; otherwise as qwen2_5_7b_kl_cov.py. The rest,
and where the sources differ, is in qwen2_5_32b_grpo.py and qwen2_5_7b_grpo.py.

Published, percent (mean of the seven as printed 52.2):

    AIME24 36.8   AIME25 30.8   AMC 74.5   MATH500 84.6   OMNI 39.1   Olympiad 49.0   Minerva 46.3
"""

from dataclasses import replace
from pathlib import Path

from entropy_rl.config import RunConfig
from entropy_rl.config_file import load_config
from entropy_rl.objectives import KLCov

TOPOLOGIES = ("v5p:4x4x4", "v6e:8x8")
"""Slices this recipe was planned for; the first is taken when none is named."""


def get_config(topology: str = TOPOLOGIES[0]) -> RunConfig:
    base = load_config(Path(__file__).with_name("qwen2_5_32b_grpo.py"), topology)
    return replace(
        base,
        name="qwen2_5_32b_kl_cov",
        objective=KLCov(fraction=2e-4, penalty_coef=1.0),
    )

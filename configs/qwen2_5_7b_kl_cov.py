"""KL-Cov on DAPO-Math-17k with Qwen2.5-7B (arXiv 2505.22617).

    python -m entropy_rl plan --config configs/qwen2_5_7b_kl_cov.py
    python -m entropy_rl train --config configs/qwen2_5_7b_kl_cov.py

Planned for 16 v5p chips (v5p:2x2x4) and 16 v6e chips (v6e:4x4, by --topology v6e:4x4). Not run by us.

2e-3 of the tokens, those with the largest covariance, are penalised by |logp - old_logp|, coefficient 1;
ratios are not clipped (the published scripts' clip of 0.2 has no effect there). Covariances and quota are of
the whole mini-batch, as the paper defines them; its code takes them of each GPU's micro-batch, and at least
one token of each. The rest, and where the sources differ, is in qwen2_5_7b_grpo.py.

Published, percent (mean of the seven as printed 40.6):

    AIME24 22.6   AIME25 12.9   AMC 61.4   MATH500 80.8   OMNI 29.1   Olympiad 42.6   Minerva 38.2
"""

from dataclasses import replace
from pathlib import Path

from entropy_rl.config import RunConfig
from entropy_rl.config_file import load_config
from entropy_rl.objectives import KLCov

TOPOLOGIES = ("v5p:2x2x4", "v6e:4x4")
"""Slices this recipe was planned for; the first is taken when none is named."""


def get_config(topology: str = TOPOLOGIES[0]) -> RunConfig:
    base = load_config(Path(__file__).with_name("qwen2_5_7b_grpo.py"), topology)
    return replace(
        base,
        name="qwen2_5_7b_kl_cov",
        objective=KLCov(fraction=2e-3, penalty_coef=1.0),
    )

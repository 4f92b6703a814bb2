"""Clip-Cov on DAPO-Math-17k with Qwen2.5-7B (arXiv 2505.22617).

    python -m entropy_rl plan --config configs/qwen2_5_7b_clip_cov.py
    python -m entropy_rl train --config configs/qwen2_5_7b_clip_cov.py

Planned for 16 v5p chips (v5p:2x2x4) and 16 v6e chips (v6e:4x4, by --topology v6e:4x4). Not run by us.

2e-4 of the tokens, drawn from those with a covariance between 1 and 5, lose their gradient; ratios are
clipped to [0, 2], the published scripts' clip of 1 to either side. Covariances, candidates and quota are of
the whole mini-batch, as the paper defines them; its code takes them of each GPU's micro-batch, and at least
one token of each. The rest, and where the sources differ, is in qwen2_5_7b_grpo.py.

Published, percent (mean of the seven as printed 40.4):

    AIME24 22.1   AIME25 15.8   AMC 58.2   MATH500 80.4   OMNI 30.5   Olympiad 44.1   Minerva 41.1
"""

from dataclasses import replace
from pathlib import Path

from entropy_rl.config import RunConfig
from entropy_rl.config_file import load_config
from entropy_rl.objectives import ClipCov

TOPOLOGIES = ("v5p:2x2x4", "v6e:4x4")
"""Slices this recipe was planned for; the first is taken when none is named."""


def get_config(topology: str = TOPOLOGIES[0]) -> RunConfig:
    base = load_config(Path(__file__).with_name("qwen2_5_7b_grpo.py"), topology)
    return replace(
        base,
        name="qwen2_5_7b_clip_cov",
        objective=ClipCov(fraction=2e-4, cov_low=1.0, cov_high=5.0, eps_low=1.0, eps_high=1.0),
    )

"""KL-Cov with Qwen2.5-32B and 16 updates a rollout instead of 8: mini-batches of 16 prompts.

    python -m entropy_rl plan --config configs/qwen2_5_32b_kl_cov_mininbsz.py
    python -m entropy_rl train --config configs/qwen2_5_32b_kl_cov_mininbsz.py

Planned for 64 v5p chips (v5p:4x4x4) and 64 v6e chips (v6e:8x8, by --topology v6e:8x8). Not run by us.

The verl recipe has it as 32b_kl_cov_mininbsz; the paper publishes no result of it. All else is
qwen2_5_32b_kl_cov.py.
"""

from dataclasses import replace
from pathlib import Path

from entropy_rl.config import RunConfig
from entropy_rl.config_file import load_config

TOPOLOGIES = ("v5p:4x4x4", "v6e:8x8")
"""Slices this recipe was planned for; the first is taken when none is named."""


def get_config(topology: str = TOPOLOGIES[0]) -> RunConfig:
    base = load_config(Path(__file__).with_name("qwen2_5_32b_kl_cov.py"), topology)
    batch = replace(base.batch, prompts_per_update=16)
    return replace(base, name="qwen2_5_32b_kl_cov_mininbsz", batch=batch)

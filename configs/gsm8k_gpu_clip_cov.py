"""Clip-Cov on the task, the policy and the batches of gsm8k_gpu_grpo.py, to compare with it.

    python -m entropy_rl train --config configs/gsm8k_gpu_clip_cov.py

Its fraction is the paper's 2e-4: of some 60,000 tokens of a mini-batch it drops a dozen.
Not run by us on a GPU; no published result.
"""

from dataclasses import replace
from pathlib import Path

from entropy_rl.config import RunConfig
from entropy_rl.config_file import load_config
from entropy_rl.objectives import ClipCov

TOPOLOGIES = ("h200:1", "h100:1")
"""What this configuration was sized for; the first is taken when none is named."""


def get_config(topology: str = TOPOLOGIES[0]) -> RunConfig:
    base = load_config(Path(__file__).with_name("gsm8k_gpu_grpo.py"), topology)
    return replace(base, name="gsm8k_gpu_clip_cov", objective=ClipCov())

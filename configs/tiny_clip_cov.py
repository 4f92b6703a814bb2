"""Clip-Cov on the task, the policy and the warm start of tiny_kl_cov.py, to compare with it.

    python -m entropy_rl train --config configs/tiny_clip_cov.py

A mini-batch has about 700 tokens: the paper's fraction of 2e-4 would drop none of them, 2e-2 drops up to 14.
One token in a hundred has a covariance above 1 to 6, and the tail passes 10 while the policy sharpens: the
window (1, 10) holds 6 to 36 candidates an update. The paper's ends at 5.

Time: as tiny_kl_cov.py, whose cached warm start it shares.

Expected, seed 0: pass rate 0.45 -> 0.83 (mean of the first and the last 10 steps), entropy from 0.31 to 0.14
nats, most of the fall within 40 steps; held out, accuracy 0.365 -> 0.766, pass@8 0.953 -> 0.938.
"""

from dataclasses import replace
from pathlib import Path

from entropy_rl.config import RunConfig
from entropy_rl.config_file import load_config
from entropy_rl.objectives import ClipCov


def get_config() -> RunConfig:
    base = load_config(Path(__file__).with_name("tiny_kl_cov.py"))
    return replace(base, name="tiny_clip_cov", objective=ClipCov(fraction=2e-2, cov_low=1.0, cov_high=10.0))

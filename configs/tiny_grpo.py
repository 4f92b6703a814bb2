"""Plain GRPO (PPO clip) on the task, the policy and the warm start of tiny_kl_cov.py, to compare with it.

    python -m entropy_rl train --config configs/tiny_grpo.py

Time: as tiny_kl_cov.py, whose cached warm start it shares.

Expected, seed 0: pass rate 0.47 -> 0.81 (mean of the first and the last 10 steps) while entropy falls from
0.31 to 0.03 nats; held out, accuracy 0.365 -> 0.816, pass@8 0.953 -> 0.859.
"""

from dataclasses import replace
from pathlib import Path

from entropy_rl.config import RunConfig
from entropy_rl.config_file import load_config
from entropy_rl.objectives import PPOClip


def get_config() -> RunConfig:
    base = load_config(Path(__file__).with_name("tiny_kl_cov.py"))
    return replace(base, name="tiny_grpo", objective=PPOClip())

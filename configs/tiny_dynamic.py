"""The tiny job with dynamic sampling: a step learns from 64 groups with right and wrong responses.

    python -m entropy_rl train --config configs/tiny_dynamic.py

Groups that are all right or all wrong make no gradient; here prompts are sampled until 64 groups have both.
What is sampled beyond these begins the next step's batch; upstream throws it away, as does

    python -m entropy_rl train --config configs/tiny_dynamic.py --name tiny_dynamic_drop \\
        --dynamic-sampling.max-staleness 0

Their `generation/wasted_fraction` and `generation/dropped_tokens` compare the two. All else is
configs/tiny_kl_cov.py.
"""

from dataclasses import replace
from pathlib import Path

from entropy_rl.config import RunConfig
from entropy_rl.config_file import load_config
from entropy_rl.dynamic_sampling import DynamicSampling


def get_config() -> RunConfig:
    base = load_config(Path(__file__).with_name("tiny_kl_cov.py"))
    return replace(base, name="tiny_dynamic", dynamic_sampling=DynamicSampling())

"""A study of two methods that takes seconds, and made-up curves whose statistics can be told by hand."""

from dataclasses import replace
from pathlib import Path

from entropy_rl.config import BatchConfig, Evaluation
from entropy_rl.objectives import PPOClip, Regularizer
from entropy_rl.study import Method, Setting, Stage, Study
from entropy_rl.study.curves import Curves
from entropy_rl.training.layout import Padded
from tests.processes.job import EvenTask
from tests.runs import make_config

TASK = EvenTask(num_train_prompts=13, num_heldout_prompts=5)
"""A random policy is sometimes right: there are advantages without a warm start."""


def make_study(folder: Path, *, num_settings: int = 2, **changes) -> Study:
    """Two methods in up to two settings, one development and two final seeds, three steps a run."""
    batch = BatchConfig(prompts_per_step=4, prompts_per_update=2, prompts_per_wave=4, layout=Padded())
    base = make_config(
        folder,
        num_steps=3,
        checkpoint_every_steps=1,
        batch=batch,  # samples as evaluation does, by the same compiled programs
        regularizer=Regularizer(),
        warm_start=None,
    )
    grpo = replace(base, objective=PPOClip())
    settings = dict(
        baseline="GRPO",
        claimant="KL-Cov",
        methods=(
            Method(name="GRPO", settings=_settings(grpo)[:num_settings]),
            Method(name="KL-Cov", settings=_settings(base)[:num_settings]),
        ),
        development=Stage(name="development", seeds=(7,), task=TASK, evaluation=Evaluation(num_samples=8)),
        final=Stage(
            name="final",
            seeds=(1, 2),
            task=replace(TASK, part=1),
            evaluation=Evaluation(num_samples=8, every_steps=1),
        ),
    )
    return Study(**(settings | changes))


def _settings(config) -> tuple[Setting, ...]:
    slow = replace(config, optimizer=replace(config.optimizer, learning_rate=1e-4))
    return (Setting(name="fast", config=config), Setting(name="slow", config=slow))


def make_curves(method: str, seed: int, *, setting: str = "fast", entropy, average, passed) -> Curves:
    """A run of as many steps as there are entropies; held-out figures at step 0 and at the end."""
    steps = range(1, len(entropy) + 1)
    return Curves(
        method=method,
        setting=setting,
        seed=seed,
        num_steps=len(entropy),
        seconds=60.0,
        points={
            "policy/entropy": [[step, value] for step, value in zip(steps, entropy, strict=True)],
            "heldout/average@8": [[0, 0.125], [len(entropy), average]],
            "heldout/pass@8": [[0, 0.75], [len(entropy), passed]],
        },
    )

"""Short runs of the real trainer: one in health, and three ill in ways that no metric is told of."""

from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from entropy_rl.config import BatchConfig, RunConfig
from entropy_rl.objectives import PPOClip, Regularizer
from entropy_rl.observability.run_record import RunRecord
from entropy_rl.sampler import Sampling
from entropy_rl.train import train
from entropy_rl.training.layout import Padded
from entropy_rl.training.optimizer import AdamW
from entropy_rl.training.warm_start import WarmStart
from tests.processes.job import EvenLength, EvenTask
from tests.runs import make_config

TASK = dict(num_train_prompts=31, num_heldout_prompts=5)


def healthy_config(folder: Path, name: str = "healthy", **changes) -> RunConfig:
    """Eighteen steps of one update on 40 responses; all names share the warm start."""
    settings = dict(
        task=EvenTask(**TASK),
        objective=PPOClip(),
        optimizer=AdamW(learning_rate=3e-4),
        batch=BatchConfig(prompts_per_step=8, samples_per_prompt=5, prompts_per_update=8, layout=Padded()),
        regularizer=Regularizer(),
        evaluation=None,
        warm_start=WarmStart(
            num_steps=150,
            batch_size=16,
            num_demonstrations=600,
            optimizer=AdamW(learning_rate=1e-2),
            cache_folder=folder / "policies",
        ),
        num_steps=18,
        checkpoint_every_steps=18,
    )
    return make_config(folder, name, **(settings | changes))


class AllTheSame(EvenLength):
    """Rewards every response alike."""

    def grade(self, prompts, responses):
        graded = super().grade(prompts, responses)
        return replace(graded, reward_PG=np.ones_like(graded.reward_PG))


@dataclass(frozen=True, kw_only=True)
class ConstantTask(EvenTask):
    """A task whose judge has broken."""

    @contextmanager
    def open_grader(self):
        yield AllTheSame()


@dataclass(frozen=True, kw_only=True)
class ColdSampler(RunConfig):
    """A run whose sampler draws at half the temperature that its learner and its records know of."""

    def sampler(self, policy, tokenizer):
        return replace(super().sampler(policy, tokenizer), sampling=Sampling(temperature=0.5))


def ill_configs(folder: Path) -> dict[str, RunConfig]:
    """Each by its name."""
    cold = healthy_config(folder, "cold_sampler")
    return {
        "constant_reward": healthy_config(folder, "constant_reward", task=ConstantTask(**TASK)),
        "cold_sampler": ColdSampler(**{name: getattr(cold, name) for name in cold.__dataclass_fields__}),
        "huge_steps": healthy_config(folder, "huge_steps", optimizer=AdamW(learning_rate=1.0)),
    }


def trained(config: RunConfig) -> RunRecord:
    """The record of the run, which is made."""
    train(config)
    return RunRecord.load(config.runs_folder / config.name)

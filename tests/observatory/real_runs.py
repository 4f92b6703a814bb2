"""Short runs of the real trainer: one in health, and three ill in ways that no metric is told of."""

from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from entropy_rl.config import RunConfig
from entropy_rl.config_file import load_config
from entropy_rl.data.tasks import CountdownTask
from entropy_rl.observability.run_record import RunRecord
from entropy_rl.sampler import Sampling
from entropy_rl.train import train
from entropy_rl.training.optimizer import AdamW
from tests.processes.job import EvenLength

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def healthy_config(folder: Path, name: str = "healthy", **changes) -> RunConfig:
    """Twelve steps of Clip-Cov on countdown, 4 updates each; all names share the warm start."""
    config = load_config(CONFIGS / "tiny_clip_cov.py")
    settings = dict(
        name=name,
        batch=replace(config.batch, samples_per_prompt=4),
        evaluation=None,
        warm_start=replace(config.warm_start, cache_folder=folder / "policies"),
        num_steps=12,
        checkpoint_every_steps=12,
        runs_folder=folder / "runs",
    )
    return replace(config, **(settings | changes))


class AllTheSame(EvenLength):
    """Rewards every response alike."""

    def grade(self, prompts, responses):
        graded = super().grade(prompts, responses)
        return replace(graded, reward_PG=np.ones_like(graded.reward_PG))


@dataclass(frozen=True, kw_only=True)
class ConstantTask(CountdownTask):
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
    task = ConstantTask(**{field.name: getattr(cold.task, field.name) for field in fields(cold.task)})
    return {
        "constant_reward": healthy_config(folder, "constant_reward", task=task),
        "cold_sampler": ColdSampler(**{field.name: getattr(cold, field.name) for field in fields(cold)}),
        "huge_steps": healthy_config(folder, "huge_steps", optimizer=AdamW(learning_rate=1.0)),
    }


def trained(config: RunConfig) -> RunRecord:
    """The record of the run, which is made."""
    train(config)
    return RunRecord.load(config.runs_folder / config.name)

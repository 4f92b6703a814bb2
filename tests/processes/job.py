"""A job of seconds for one process or several: a random policy is rewarded for responses of even length."""

from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from entropy_rl.config import BatchConfig, Evaluation, PolicyConfig, RunConfig
from entropy_rl.config_file import load_config
from entropy_rl.data.graders import GradeBatch
from entropy_rl.data.tasks import CountdownTask
from entropy_rl.models.config import Qwen2Config
from entropy_rl.objectives import KLCov
from entropy_rl.parallelism import MeshConfig
from entropy_rl.training.layout import Packed
from entropy_rl.training.optimizer import AdamW

ROOT = Path(__file__).resolve().parents[2]
ONE_DEVICE = MeshConfig()
ROWS = Packed(tokens_per_device=48, num_smaller_shapes=1)
"""Several micro-batches of an update, on one device and on eight."""
EVERY_AXIS = MeshConfig(data=2, fsdp=2, tensor=2)
ARCHITECTURE = Qwen2Config(
    vocab_size=26,
    num_layers=2,
    hidden_size=14,
    intermediate_size=22,
    num_heads=4,
    num_kv_heads=2,
    head_dim=6,
    rope_theta=1e4,
    tie_embeddings=True,
)


class EvenLength:
    """Rewards what a random policy can do, so that there are advantages without a warm start."""

    def grade(self, prompts, responses) -> GradeBatch:
        correct_PG = np.array([[len(response.text) % 2 == 0 for response in group] for group in responses])
        return GradeBatch(
            reward_PG=correct_PG.astype(np.float32),
            correct_PG=correct_PG,
            timed_out_PG=np.zeros_like(correct_PG),
            extracted_PG=np.array([[response.text for response in group] for group in responses], object),
            method_PG=np.full(correct_PG.shape, "even length", object),
            seconds=0.0,
            mean_P={"reward/valid_fraction": correct_PG.mean(axis=1, dtype=np.float32)},
        )


@dataclass(frozen=True, kw_only=True)
class EvenTask(CountdownTask):
    """Countdown's prompts under another reward."""

    @contextmanager
    def open_grader(self):
        yield EvenLength()


def tiny_job(folder: Path, name: str, mesh: MeshConfig) -> RunConfig:
    """What launch/cpu_mesh.sh runs."""
    config = load_config(ROOT / "configs" / "cpu_mesh.py")
    return replace(
        config,
        name=name,
        mesh=mesh,
        optimizer=replace(config.optimizer, learning_rate=1e-4),
        warm_start=replace(config.warm_start, cache_folder=folder / "policies"),
        checkpoint_every_steps=4,
        runs_folder=folder,
    )


def job(folder: Path, name: str, mesh: MeshConfig = ONE_DEVICE, **changes) -> RunConfig:
    """Five steps of two updates, a prompt of each on each of four shards."""
    settings = dict(
        name=name,
        policy=PolicyConfig(architecture=ARCHITECTURE, compute_dtype="float32"),
        task=EvenTask(num_train_prompts=37, num_heldout_prompts=5),
        objective=KLCov(fraction=0.1),
        optimizer=AdamW(learning_rate=1e-4),
        batch=BatchConfig(
            prompts_per_step=8, samples_per_prompt=3, prompts_per_update=4, prompts_per_wave=4, layout=ROWS
        ),
        mesh=mesh,
        evaluation=Evaluation(num_samples=3),
        num_steps=5,
        checkpoint_every_steps=4,
        runs_folder=folder,
    )
    return RunConfig(**(settings | changes))

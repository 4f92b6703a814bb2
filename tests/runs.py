"""A run short enough for a test, with everything switched on that a step can have."""

from pathlib import Path

from entropy_rl.config import BatchConfig, Evaluation, PolicyConfig, RunConfig
from entropy_rl.data.tasks import CountdownTask
from entropy_rl.dynamic_sampling import DynamicSampling
from entropy_rl.objectives import KLCov, Regularizer
from entropy_rl.recording import Recording
from entropy_rl.training.layout import Padded
from entropy_rl.training.optimizer import AdamW
from entropy_rl.training.warm_start import WarmStart
from tests.policies import TINY
from tests.processes.job import EvenTask


def make_config(folder: Path, name: str = "short", **changes) -> RunConfig:
    """Seven steps of two updates; runs and warm starts lie in `folder`."""
    settings = dict(
        name=name,
        policy=PolicyConfig(architecture=TINY, compute_dtype="float32"),
        task=CountdownTask(num_train_prompts=31, num_heldout_prompts=5),
        objective=KLCov(fraction=0.05),
        optimizer=AdamW(learning_rate=1e-3),
        batch=BatchConfig(prompts_per_step=4, samples_per_prompt=3, prompts_per_update=2, layout=Padded()),
        regularizer=Regularizer(kl_coef=0.01),
        evaluation=Evaluation(num_samples=2),
        warm_start=WarmStart(
            num_steps=3, batch_size=8, num_demonstrations=50, cache_folder=folder / "policies"
        ),
        recording=Recording(rollouts_every_steps=2, num_rollouts=99),
        num_steps=7,
        checkpoint_every_steps=2,
        runs_folder=folder / "runs",
    )
    return RunConfig(**(settings | changes))


def make_dynamic_config(folder: Path, **changes) -> RunConfig:
    """The same with dynamic sampling; a random policy has right and wrong responses to most prompts."""
    settings = dict(
        task=EvenTask(num_train_prompts=31, num_heldout_prompts=5),
        dynamic_sampling=DynamicSampling(),
        evaluation=None,
        warm_start=None,
    )
    return make_config(folder, **(settings | changes))

"""What is refused before a run begins, what is warned of, and what ends it."""

import warnings

import jax
import numpy as np

from entropy_rl.config import RunConfig
from entropy_rl.objectives import KLCov
from entropy_rl.observability.run_folder import run_exists
from entropy_rl.parallelism import is_main, share
from entropy_rl.paths import reach
from entropy_rl.training.checkpoint import Checkpoints
from entropy_rl.training.layout import Packed


def check_folder(config: RunConfig, *, resume: bool, overwrite: bool) -> None:
    """Refuses what cannot work with the run's folder, before anything is loaded or written.

    The main process looks, and all go by what it sees.
    """
    path = config.runs_folder / config.name
    elsewhere = config.checkpoint_folder is not None
    here, there = is_main() and run_exists(config.runs_folder, config.name), False
    if is_main() and elsewhere:
        there = reach(config.checkpoints).exists()
    here, there = share(np.array([here, there]))[0].tolist()
    if resume and overwrite:
        raise ValueError("a run is either resumed or overwritten, got both --resume and --overwrite")
    if resume and not here and not elsewhere:  # a fresh machine cannot know whether there was a checkpoint
        raise ValueError(
            f"a run to resume must exist, {path} holds none; check --name, or leave --resume out"
        )
    if (here or there) and not resume and not overwrite:
        raise ValueError(
            f"{config.checkpoints if there else path} holds a run already; go on with it by --resume, delete "
            "it by --overwrite, or choose another --name"
        )


def warn_about(config: RunConfig) -> None:
    """Points out settings that are allowed but do not do what they seem to."""
    objective, batch = config.objective, config.batch
    if isinstance(objective, KLCov) and batch.updates_per_step == 1:
        warnings.warn(
            "KL-Cov with one update per rollout does nothing: its penalty |logp - old_logp| has no gradient "
            "while the policy is still the one that sampled; lower batch.prompts_per_update to make several",
            stacklevel=3,
        )
    most_tokens = batch.prompts_per_update * batch.samples_per_prompt * config.task.max_response_tokens
    if (
        objective.needs_selection
        and not objective.scope.at_least_one
        and objective.fraction * most_tokens < 1
    ):
        warnings.warn(
            f"objective.fraction {objective.fraction} of a mini-batch of at most {most_tokens} tokens is "
            "less than one token: none is ever selected; raise the fraction or batch.prompts_per_update",
            stacklevel=3,
        )
    _warn_about_rows(config)
    if config.policy.param_dtype == "bfloat16":
        warnings.warn(
            "parameters kept in bfloat16 have 8 bits: an update below 1/256 of a weight is lost, as most are "
            "at a learning rate of 1e-6; to train in earnest keep policy.param_dtype float32 and only "
            "policy.compute_dtype bfloat16",
            stacklevel=3,
        )


def _warn_about_rows(config: RunConfig) -> None:
    layout = config.batch.layout
    if not isinstance(layout, Packed):
        return
    budget = layout.tokens_per_device
    slots = layout.row_slots(config.task.max_prompt_tokens + config.task.max_response_tokens)
    if budget % slots > 0.1 * budget:
        warnings.warn(
            f"batch.layout.tokens_per_device {budget} is rounded down to {budget // slots} rows of {slots}, "
            f"{budget - budget % slots}; make it a multiple of the row",
            stacklevel=4,
        )


def stop_if_not_finite(config: RunConfig, skipped_in_a_row: int, step: int, checkpoints: Checkpoints) -> None:
    """Raises RuntimeError when too many updates in a row were skipped."""
    if skipped_in_a_row < config.max_skipped_updates:
        return
    checkpoints.wait()
    last_good = checkpoints.latest_step
    where = (
        "there is no checkpoint yet" if last_good is None else f"the last checkpoint is of step {last_good}"
    )
    raise RuntimeError(
        f"{skipped_in_a_row} updates in a row up to step {step} were skipped, loss or gradient not finite "
        f"(max_skipped_updates is {config.max_skipped_updates}); {where}; lower optimizer.learning_rate "
        "and resume from it"
    )


def check_mesh(config: RunConfig) -> None:
    """Refuses a mesh without devices of every process: some would hold nothing, and have nothing to do."""
    size = config.mesh.size
    if jax.process_count() > 1 and size != jax.device_count():
        raise ValueError(
            f"a run of {jax.process_count()} processes must use all of their {jax.device_count()} devices, "
            f"mesh.data x mesh.fsdp x mesh.tensor is {size}; change the mesh or the number of processes"
        )

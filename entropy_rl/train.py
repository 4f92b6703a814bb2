"""The programme: prompts -> rollouts -> rewards -> advantages -> updates -> metrics, step after step."""

import warnings
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp

from entropy_rl.config import RunConfig
from entropy_rl.data.pipeline import PromptPipeline
from entropy_rl.data.tasks import Grader
from entropy_rl.evaluation.evaluate import response_texts
from entropy_rl.heldout import heldout_numbers
from entropy_rl.host_memory import peak_memory_bytes
from entropy_rl.models.parameters import count
from entropy_rl.objectives import KLCov
from entropy_rl.observability.clock import Clock
from entropy_rl.observability.plots import draw_run
from entropy_rl.observability.progress import ProgressReport
from entropy_rl.observability.run_folder import RunFolder, run_exists
from entropy_rl.observability.run_record import METRICS_FILE, read_history, read_rows
from entropy_rl.parallelism import batch_sharding
from entropy_rl.paths import reach
from entropy_rl.sampler import Sampler
from entropy_rl.starting_policy import starting_policy
from entropy_rl.step_metrics import reward_metrics, time_metrics
from entropy_rl.stored_policy import StoredPolicy, save_skeleton
from entropy_rl.training.checkpoint import Checkpoints, Progress
from entropy_rl.training.learner import Learner, TrainState
from entropy_rl.training.step import learn


@dataclass(frozen=True, kw_only=True)
class Workbench:
    """What a step works with, made once."""

    config: RunConfig
    start: StoredPolicy
    sampler: Sampler
    learner: Learner
    prompts: PromptPipeline
    ref_params: dict | None
    """Parameters of the frozen reference, when a KL term needs it."""
    placement: jax.sharding.NamedSharding
    """Where arrays of prompts lie."""

    @classmethod
    def of(cls, config: RunConfig) -> "Workbench":
        start = starting_policy(config)
        return cls(
            config=config,
            start=start,
            sampler=config.sampler(start.policy, start.tokenizer),
            learner=config.learner(start.policy),
            prompts=PromptPipeline(
                config.task.train_prompts(start.tokenizer),
                start.tokenizer,
                prompts_per_step=config.batch.prompts_per_step,
                max_prompt_tokens=config.task.max_prompt_tokens,
                seed=config.seed,
            ),
            # A copy: the first update takes over the memory of the starting parameters.
            ref_params=jax.tree.map(jnp.copy, start.params) if config.regularizer.needs_reference else None,
            placement=batch_sharding(config.mesh.build()),
        )


def train(config: RunConfig, *, resume: bool = False, overwrite: bool = False) -> dict:
    """Runs `config` to its last step and returns what summary.json holds.

    `resume` goes on from the newest checkpoint, bit for bit as if the run had never stopped (one that was
    killed before its first checkpoint begins again), on another machine too where `config.checkpoint_folder`
    outlives the first; `overwrite` deletes an earlier run of the same name.
    Raises ValueError for settings that cannot work, RuntimeError when updates stop being finite.
    """
    check_folder(config, resume=resume, overwrite=overwrite)
    warn_about(config)
    bench = Workbench.of(config)
    with ExitStack() as stack:
        folder, checkpoints, done = open_run(bench, resume=resume, overwrite=overwrite)
        stack.enter_context(folder)
        stack.enter_context(closing(checkpoints))
        save_skeleton(bench.start, folder.path)
        state = begin(bench, checkpoints)
        grader = stack.enter_context(config.task.open_grader())
        progress = ProgressReport(config.name, num_steps=config.num_steps, done_steps=done.step)
        stack.enter_context(progress)
        progress.say(introduction(bench))
        num_updates = done.num_updates
        for step in range(done.step + 1, config.num_steps + 1):
            state, metrics = take_step(bench, grader, state, step)
            num_updates += config.batch.updates_per_step - metrics["optimizer/skipped_updates"]
            metrics["optimizer/learning_rate"] = float(config.optimizer.schedule()(max(num_updates - 1, 0)))
            if config.evaluation and config.evaluation.due(step, config.num_steps):
                stored = replace(bench.start, params=state.params)
                metrics |= under("heldout", heldout_numbers(config, stored, grader))
            folder.record(step, metrics)
            progress.step(step, metrics)
            stop_if_not_finite(config, metrics["optimizer/skipped_in_a_row"], step, checkpoints)
            if step % config.checkpoint_every_steps == 0 or step == config.num_steps:
                checkpoints.save(state, progress_of(bench, folder, step, num_updates))
    summary = folder.finish({"peak_memory_bytes": peak_memory_bytes()})
    draw_run(folder.path)
    progress.table(read_rows(folder.path / METRICS_FILE))
    progress.say(f"run folder: {folder.path}")
    return summary


def take_step(bench: Workbench, grader: Grader, state: TrainState, step: int) -> tuple[TrainState, dict]:
    """One rollout and all of its updates; `state` is donated."""
    config, clock = bench.config, Clock()
    batch = next(bench.prompts)
    working = state.params
    if bench.sampler.needs_working_params(state.params):
        with clock("reshard"):
            working = jax.block_until_ready(bench.sampler.working_params(state.params))
    with clock("rollout"):
        prompts = (batch.prompt_ids_PS, batch.prompt_mask_PS, batch.prompt_id_P)
        prompts = jax.device_put(prompts, bench.placement)
        rollout = jax.block_until_ready(bench.sampler(working, *prompts, config.key("sampler", step)))
    del working  # updates need its memory
    with clock("reward"):
        grades = grader.grade(batch.prompts, response_texts(rollout, bench.start.tokenizer))
    adv_PG = jax.device_put(config.advantage(jnp.asarray(grades.reward_PG)), bench.placement)
    ref_logp_PGT = None
    if bench.ref_params is not None:
        with clock("ref_logp"):
            ref_logp_PGT, _ = jax.block_until_ready(bench.learner.log_probs(bench.ref_params, rollout))
    state, metrics = learn(
        bench.learner,
        state,
        rollout,
        adv_PG,
        config.key("selection", step),
        prompts_per_update=config.batch.prompts_per_update,
        ref_logp_PGT=ref_logp_PGT,
        clock=clock,
    )
    metrics |= reward_metrics(grades, rollout, bench.start.tokenizer.stop_ids)
    return state, metrics | time_metrics(clock, grades, rollout)


def check_folder(config: RunConfig, *, resume: bool, overwrite: bool) -> None:
    """Refuses what cannot work with the run's folder, before anything is loaded or written."""
    path = config.runs_folder / config.name
    exists = run_exists(config.runs_folder, config.name)
    elsewhere = config.checkpoint_folder is not None
    if elsewhere and reach(config.checkpoints).exists():
        path, exists = config.checkpoints, True
    if resume and overwrite:
        raise ValueError("a run is either resumed or overwritten, got both --resume and --overwrite")
    if resume and not exists and not elsewhere:  # a fresh machine cannot know whether there was a checkpoint
        raise ValueError(
            f"a run to resume must exist, {path} holds none; check --name, or leave --resume out"
        )
    if exists and not resume and not overwrite:
        raise ValueError(
            f"{path} holds a run already; go on with it by --resume, delete it by --overwrite, or choose "
            "another --name"
        )


def open_run(bench: Workbench, *, resume: bool, overwrite: bool) -> tuple[RunFolder, Checkpoints, Progress]:
    """The run's folder, its checkpoints and how far it had come; nothing is written before all checks."""
    config, done = bench.config, None
    if resume:
        with closing(Checkpoints(config.checkpoints)) as earlier:
            done = earlier.progress()
    if done is None:
        done = Progress(step=0, num_updates=0, seed=config.seed, data_position={}, entropy_history=[])
    else:
        if done.seed != config.seed:
            raise ValueError(
                f"a resumed run must keep its seed {done.seed}, got {config.seed}; leave it as it was"
            )
        bench.prompts.set_state(done.data_position)
    if overwrite and config.checkpoint_folder is not None:
        reach(config.checkpoints).rmtree(missing_ok=True)
    goes_on = resume and (done.step > 0 or run_exists(config.runs_folder, config.name))
    folder = RunFolder.create(
        config.runs_folder,
        config.name,
        config,
        resume_step=done.step if goes_on else None,
        resume_history=done.entropy_history,
        overwrite=overwrite,
    )
    return folder, Checkpoints(config.checkpoints, keep=config.keep_checkpoints), done


def begin(bench: Workbench, checkpoints: Checkpoints) -> TrainState:
    """The state to go on from: the newest checkpoint's, or a fresh one."""
    state = bench.learner.init(bench.start.params)
    if checkpoints.latest_step is None:
        return state
    like = jax.tree.map(ocp.utils.to_shape_dtype_struct, state)
    del state  # or there would be two at once
    return checkpoints.restore(like)


def progress_of(bench: Workbench, folder: RunFolder, step: int, num_updates: int) -> Progress:
    """The part of a checkpoint that is not arrays."""
    return Progress(
        step=step,
        num_updates=num_updates,
        seed=bench.config.seed,
        data_position=bench.prompts.get_state(),
        entropy_history=read_history(folder.history_path),
    )


def under(prefix: str, numbers: dict) -> dict:
    """The numbers as metrics `prefix/name`."""
    return {f"{prefix}/{name}": value for name, value in numbers.items()}


def introduction(bench: Workbench) -> str:
    """What the run is about to do, in a line or two; the first step is long, since it compiles."""
    config, batch = bench.config, bench.config.batch
    left_out = f" ({bench.prompts.num_too_long} longer ones left out)" if bench.prompts.num_too_long else ""
    return (
        f"{config.name}: {type(config.objective).__name__}, {count(bench.start.policy.config):,} parameters; "
        f"{len(bench.prompts.prompts):,} prompts{left_out}; a step is {batch.prompts_per_step} prompts x "
        f"{batch.samples_per_prompt} samples and {batch.updates_per_step} updates; the first one compiles"
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
    if config.policy.param_dtype == "bfloat16":
        warnings.warn(
            "parameters kept in bfloat16 have 8 bits: an update below 1/256 of a weight is lost, as most are "
            "at a learning rate of 1e-6; to train in earnest keep policy.param_dtype float32 and only "
            "policy.compute_dtype bfloat16",
            stacklevel=3,
        )


def stop_if_not_finite(config: RunConfig, skipped_in_a_row: int, step: int, checkpoints: Checkpoints) -> None:
    """Raises RuntimeError when too many updates in a row were skipped."""
    if skipped_in_a_row < config.max_skipped_updates:
        return
    last_good = checkpoints.latest_step
    where = (
        "there is no checkpoint yet" if last_good is None else f"the last checkpoint is of step {last_good}"
    )
    raise RuntimeError(
        f"{skipped_in_a_row} updates in a row up to step {step} were skipped, loss or gradient not finite "
        f"(max_skipped_updates is {config.max_skipped_updates}); {where}; lower optimizer.learning_rate "
        "and resume from it"
    )

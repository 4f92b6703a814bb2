"""The programme: step after step, each recorded, saved now and then; stopped, resumed and ended in order."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace

import jax
import orbax.checkpoint as ocp

from entropy_rl.config import RunConfig
from entropy_rl.data.graders import Grader
from entropy_rl.data.prompts import Prompt
from entropy_rl.dynamic_sampling import DynamicSampling
from entropy_rl.evaluation.problems import Problems
from entropy_rl.guard import Collapsed
from entropy_rl.heldout import heldout_numbers, heldout_prompts, validation_numbers, validation_problems
from entropy_rl.models.parameters import count
from entropy_rl.parallelism import Preempted, StopRequests, fail_together, is_main, wait_for_all
from entropy_rl.paths import reach
from entropy_rl.run_checks import check_folder, check_mesh, stop_if_not_finite, warn_about
from entropy_rl.run_report import RunReport, open_report
from entropy_rl.training.checkpoint import Checkpoints, Progress
from entropy_rl.training.groups import GroupPool, Groups
from entropy_rl.workbench import RunState, Workbench, take_step


@dataclass(frozen=True, kw_only=True)
class Run:
    """An open run."""

    bench: Workbench
    grader: Grader
    report: RunReport
    checkpoints: Checkpoints
    requests: StopRequests
    heldout: list[Prompt]
    """The prompts that evaluation asks, read once, that the curve be of the same ones."""
    problems: dict[str, Problems]
    """Of the suite that validates, by benchmark."""

    @property
    def config(self) -> RunConfig:
        return self.bench.config


def train(config: RunConfig, *, resume: bool = False, overwrite: bool = False) -> dict:
    """Runs `config` to its last step and returns what summary.json holds (nothing, but in the main process).

    `resume` goes on from the newest checkpoint, bit for bit as if the run had never stopped (one that was
    killed before its first checkpoint begins again), on another machine too where `config.checkpoint_folder`
    outlives the first; `overwrite` deletes an earlier run of the same name.
    Raises ValueError for settings that cannot work, RuntimeError when updates stop being finite, Collapsed
    when its guard has stopped it, with everything written as at its end, and Preempted, with all that was
    done saved, after SIGTERM to any of its processes. Any other exception of one of several processes ends
    that process at once.
    """
    # SIGTERM is heard from here on, and obeyed when the folder is there that --resume looks for.
    with StopRequests() as requests:
        check_folder(config, resume=resume, overwrite=overwrite)
        check_mesh(config)
        if is_main():
            warn_about(config)
        keep_compiled_programs(config)
        bench = Workbench.of(config)
        done = come_so_far(bench, resume=resume)
        with open_run(bench, done, requests, resume=resume, overwrite=overwrite) as run:
            stopped = make_steps(run, done)
    summary = run.report.finish(stopped)
    if stopped is not None:
        raise Collapsed(stopped)
    return summary


def keep_compiled_programs(config: RunConfig) -> None:
    """Saves a run that goes on the minutes that compiling takes on accelerators, by jax's own cache.

    JAX_COMPILATION_CACHE_DIR goes before. Not on CPUs: what is compiled for one may not run on the next.
    """
    if jax.default_backend() != "cpu" and jax.config.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", str(reach(config.compiled_programs)))


def make_steps(run: Run, done: Progress) -> str | None:
    """All steps that are left; tells why, where the guard has stopped the run before.

    Raises Preempted when what was done is saved.
    """
    bench, config = run.bench, run.config
    state = begin(run, done)
    run.report.say(introduction(bench))
    try:
        if done.unrecorded is not None:
            done = end_step(run, state, done)
        while done.step < config.num_steps and not config.guard.stops(state.collapsed_steps):
            run.requests.check()
            step = done.step + 1
            before = state.collapsed_steps
            state, metrics, rollouts = take_step(bench, run.grader, state, step, run.requests.check)
            run.report.rollouts(step, rollouts)
            done = after_step(run, done, metrics)
            for said in (
                told_of_shortage(config, done),
                config.guard.warning(before, state.collapsed_steps, done.step),
            ):
                if said is not None:
                    run.report.say(said)
            done = end_step(run, state, done)
        if not config.guard.stops(state.collapsed_steps):
            return None
        save(run, state, done)
        return config.guard.reason(state.collapsed_steps, done.step)
    except Preempted:
        raise Preempted(save_at_once(run, state, done)) from None


def come_so_far(bench: Workbench, *, resume: bool) -> Progress:
    """What the newest checkpoint says, whose place in the prompts is taken; nothing done without one."""
    config, done = bench.config, None
    if resume:
        with closing(Checkpoints(config.checkpoints)) as earlier:
            done = earlier.progress()
    if done is None:
        return Progress(
            step=0,
            num_updates=0,
            num_gen_batches=0,
            seed=config.seed,
            data_position=bench.prompts.get_state(),
        )
    if done.seed != config.seed:
        raise ValueError(
            f"a resumed run must keep its seed {done.seed}, got {config.seed}; leave it as it was"
        )
    bench.prompts.set_state(done.data_position)
    return done


@contextmanager
def open_run(
    bench: Workbench, done: Progress, requests: StopRequests, *, resume: bool, overwrite: bool
) -> Iterator[Run]:
    """The run with its folder, checkpoints and judges open."""
    config = bench.config
    tokenizer = bench.start.tokenizer
    heldout = heldout_prompts(config, tokenizer)
    problems = validation_problems(config, tokenizer)  # none is missing hours later
    with ExitStack() as stack:
        report = stack.enter_context(
            open_report(config, bench.start, done, resume=resume, overwrite=overwrite)
        )
        wait_for_all("the run folder is there")
        checkpoints = Checkpoints(config.checkpoints, keep=config.keep_checkpoints)
        stack.enter_context(closing(checkpoints))
        grader = stack.enter_context(config.task.open_grader())
        stack.enter_context(fail_together())  # innermost: to close is to wait for the others
        yield Run(
            bench=bench,
            grader=grader,
            report=report,
            checkpoints=checkpoints,
            requests=requests,
            heldout=heldout,
            problems=problems,
        )


def begin(run: Run, done: Progress) -> RunState:
    """The state to go on from: the newest checkpoint's, or a fresh one."""
    state, surplus = run.bench.learner.init(run.bench.start.params), run.bench.empty_surplus()
    if run.checkpoints.latest_step is None:
        return RunState(learned=state, surplus=surplus)
    like = jax.tree.map(ocp.utils.to_shape_dtype_struct, state)
    del state  # or there would be two at once
    learned = run.checkpoints.restore(like)
    dynamic = run.config.dynamic_sampling
    recorded = [*done.rows, *([] if done.unrecorded is None else [done.unrecorded])]
    return RunState(
        learned=learned,
        surplus=dynamic and saved_surplus(dynamic, run.checkpoints, done, surplus),
        entropy_bonus=done.entropy_bonus,
        collapsed_steps=run.config.guard.count_again(recorded),
    )


def saved_surplus(
    settings: DynamicSampling, checkpoints: Checkpoints, done: Progress, empty: GroupPool
) -> GroupPool:
    """The groups that were left when the newest checkpoint was made, as far as they may still be used.

    Raises ValueError when they do not fit the settings.
    """
    if done.surplus is None:
        return empty
    groups = Groups.from_json(done.surplus["groups"])
    groups = groups.take(settings.usable(groups, done.step + 1))
    if not len(groups):
        return empty
    if done.surplus["shape"] != empty.shape:
        raise ValueError(
            "groups left over in a checkpoint must have the shape of the run's, (rows, samples, prompt "
            f"tokens, response tokens) = {empty.shape}, got {done.surplus['shape']}; leave batch, "
            "dynamic_sampling and the task's lengths as they were, or drop these groups by "
            "dynamic_sampling.max_staleness 0"
        )
    return GroupPool(groups=groups, rollout=checkpoints.restore_surplus(empty.rollout))


def after_step(run: Run, done: Progress, metrics: dict[str, float | int]) -> Progress:
    """How far the run is when a step has been made and not yet recorded."""
    config = run.config
    step = done.step + 1
    num_updates = done.num_updates + metrics["optimizer/updates"] - metrics["optimizer/skipped_updates"]
    num_gen_batches = done.num_gen_batches + metrics["generation/batches"]
    counted = {
        "optimizer/learning_rate": float(config.optimizer.schedule()(max(num_updates - 1, 0))),
        "counter/rollout_steps": step,
        "counter/gradient_steps": num_updates,
        "counter/generation_steps": num_gen_batches,
    }
    return Progress(
        step=step,
        num_updates=num_updates,
        num_gen_batches=num_gen_batches,
        seed=done.seed,
        data_position=run.bench.prompts.get_state(),
        unrecorded=metrics | counted,
    )


def told_of_shortage(config: RunConfig, done: Progress) -> str | None:
    """What to say of a step that did not find enough groups; None of any other."""
    wanted, missing = config.batch.prompts_per_step, done.unrecorded.get("batch/missing_groups", 0)
    if not missing:
        return None
    num_batches = done.unrecorded["generation/batches"]
    return (
        f"step {done.step}: only {wanted - missing} of {wanted} groups passed the filter in {num_batches} "
        "generation batches, which is dynamic_sampling.max_gen_batches; "
        + ("trained on these" if missing < wanted else "no update was made")
    )


def end_step(run: Run, state: RunState, done: Progress) -> Progress:
    """Evaluates and saves where that is due, and records the step."""
    config = run.config
    metrics = done.unrecorded | measured(run, state.learned.params, done.step)
    run.report.record(done.step, metrics)
    done = replace(done, unrecorded=None)
    stop_if_not_finite(config, metrics["optimizer/skipped_in_a_row"], done.step, run.checkpoints)
    if done.step % config.checkpoint_every_steps == 0 or done.step == config.num_steps:
        save(run, state, done)
    return done


def measured(run: Run, params, step: int) -> dict[str, float | int]:
    """What held-out prompts and a suite say of the policy, where they are due after this step."""
    config, on_pause = run.config, run.requests.check
    stored, metrics = replace(run.bench.start, params=params), {}
    if config.evaluation and config.evaluation.due(step, config.num_steps):
        numbers = heldout_numbers(config, stored, run.heldout, run.grader, on_pause)
        metrics |= {f"heldout/{name}": value for name, value in numbers.items()}
    if config.validation and config.validation.due(step, config.num_steps):
        numbers = validation_numbers(config, stored, run.problems, on_pause)
        metrics |= {f"validation/{name}": value for name, value in numbers.items()}
    return metrics


def save(run: Run, state: RunState, done: Progress) -> None:
    """Makes a checkpoint, where there is none of this step (an evaluation may have been cut off after it)."""
    if run.checkpoints.latest_step != done.step:
        groups, arrays = None, None
        if state.surplus is not None and len(state.surplus.groups):
            groups = {"groups": state.surplus.groups.as_json(), "shape": state.surplus.shape}
            arrays = state.surplus.rollout
        done = replace(done, rows=run.report.rows(), surplus=groups, entropy_bonus=state.entropy_bonus)
        run.checkpoints.save(state.learned, done, arrays)


def save_at_once(run: Run, state: RunState, done: Progress) -> str:
    """Saves a run that was asked to stop, and says how to go on."""
    if done.step == 0:
        return "asked to stop before the first step was done: nothing to save; start it again with --resume"
    save(run, state, done)
    run.checkpoints.wait()
    return f"asked to stop; saved after step {done.step}; start it again with --resume to go on"


def introduction(bench: Workbench) -> str:
    """What the run is about to do, in a line or two; the first step is long, since it compiles."""
    config, batch, dynamic = bench.config, bench.config.batch, bench.config.dynamic_sampling
    processes = f" on {jax.process_count()} processes" if jax.process_count() > 1 else ""
    search = ""
    if dynamic is not None:
        search = (
            f", found by dynamic sampling ({type(dynamic.filter).__name__}) in at most "
            f"{dynamic.max_gen_batches} batches of {config.prompts_per_gen_batch}"
        )
    return (
        f"{config.name}{processes}: {type(config.objective).__name__}, "
        f"{count(bench.start.policy.config):,} parameters; "
        f"{len(bench.prompts.prompts):,} prompts{_left_out(bench)}; "
        f"a step is {batch.prompts_per_step} prompts x {batch.samples_per_prompt} samples and "
        f"{batch.updates_per_step} updates{search}; the first one compiles"
    )


def _left_out(bench: Workbench) -> str:
    """Which prompts do not train, and why; nothing where all do."""
    found = bench.found
    counts = {
        "too long": bench.prompts.num_too_long,
        "held out or duplicates": found.num_duplicates - found.num_contradictions,
        "duplicates with another answer": found.num_contradictions,
        "malformed": len(found.malformed),
    }
    reasons = ", ".join(f"{num:,} {reason}" for reason, num in counts.items() if num)
    return f" (left out: {reasons})" if reasons else ""

"""What steps work with, and the step itself: prompts -> rollout -> rewards -> updates -> metrics."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from entropy_rl.config import RunConfig
from entropy_rl.data.graders import Grader
from entropy_rl.data.pipeline import PromptPipeline
from entropy_rl.data.prompt_files import ReadReport
from entropy_rl.evaluation import grade_rollout
from entropy_rl.objectives import CoefficientOfStep
from entropy_rl.observability.clock import Clock
from entropy_rl.observability.rollout_records import RolloutRecord
from entropy_rl.parallelism import batch_sharding, held_rows, to_global
from entropy_rl.rollout_recording import rollout_records
from entropy_rl.sampler import LogitHealth, Sampler
from entropy_rl.starting_policy import starting_policy
from entropy_rl.step_batch import Collected, Generation, fill, whole
from entropy_rl.step_metrics import (
    advantage_metrics,
    health_metrics,
    no_updates,
    sample_metrics,
    time_metrics,
)
from entropy_rl.stored_policy import StoredPolicy
from entropy_rl.training.groups import GroupPool
from entropy_rl.training.learner import Learner, TrainState
from entropy_rl.training.step import learn
from entropy_rl.training.update_metrics import reference_metrics


@dataclass(frozen=True, kw_only=True)
class Workbench:
    """What a step works with, made once."""

    config: RunConfig
    start: StoredPolicy
    sampler: Sampler
    learner: Learner
    found: ReadReport
    """What the task has to train on, and what was left out."""
    prompts: PromptPipeline
    """Batches of what is short enough."""
    ref_params: dict | None
    """Parameters of the frozen reference, when a KL term needs it."""
    placement: jax.sharding.NamedSharding
    """Where arrays of prompts lie."""

    @classmethod
    def of(cls, config: RunConfig) -> "Workbench":
        start = starting_policy(config)
        placement = batch_sharding(config.mesh.build())
        found = config.task.train_prompts(start.tokenizer)
        prompts = PromptPipeline(
            found.prompts,
            start.tokenizer,
            prompts_per_batch=config.prompts_per_gen_batch,
            max_prompt_tokens=config.task.max_prompt_tokens,
            weights=config.task.train_weights,
            seed=config.seed,
            rows=held_rows(placement, config.prompts_per_gen_batch),
            size_setting=config.gen_batch_setting,
        )
        # Generation batches may be smaller; a step could never be filled all the same.
        prompts.check_batch(config.batch.prompts_per_step, "batch.prompts_per_step")
        return cls(
            config=config,
            start=start,
            sampler=config.sampler(start.policy, start.tokenizer),
            learner=config.learner(start.policy),
            found=found,
            prompts=prompts,
            # A copy: the first update takes over the memory of the starting parameters.
            ref_params=jax.tree.map(jnp.copy, start.params) if config.regularizer.needs_reference else None,
            placement=placement,
        )

    def empty_surplus(self) -> GroupPool | None:
        """What dynamic sampling begins with; None without it.

        There is room for a generation batch beside an all but full batch.
        """
        config = self.config
        if config.dynamic_sampling is None:
            return None
        shape = (
            config.batch.prompts_per_step + config.prompts_per_gen_batch,
            config.batch.samples_per_prompt,
            config.task.max_prompt_tokens,
            config.task.max_response_tokens,
        )
        return GroupPool.empty(shape, self.placement)


@dataclass(frozen=True, kw_only=True)
class RunState:
    """All that steps change."""

    learned: TrainState
    surplus: GroupPool | None
    """Groups that dynamic sampling has left for the next step; None without it."""
    entropy_bonus: float | None = None
    """What the rule of the entropy bonus carries; None where it remembers nothing, as at the beginning."""
    collapsed_steps: int = 0
    """Steps in a row, up to the last one, that the guard calls collapsed."""


def take_step(
    bench: Workbench,
    grader: Grader,
    state: RunState,
    step: int,
    on_pause: Callable[[], None] = lambda: None,
) -> tuple[RunState, dict[str, float | int], list[RolloutRecord]]:
    """The rollouts of one step and all of its updates; `state.learned` is donated once these begin.

    Returns the state, the metrics, and the responses that are to be recorded, in the main process.

    `on_pause` is called now and then until the first update; what it raises leaves `state` as it was.
    """
    config, clock, records = bench.config, Clock(), []
    collected = collect(bench, grader, state, step, clock, on_pause)
    batch, learned = collected.batch, state.learned
    entropy_coef = CoefficientOfStep(config.regularizer, step=step, carried=state.entropy_bonus)
    on_pause()
    if batch is None:
        metrics = no_updates(learned)
    else:
        adv_PG = np.asarray(config.advantage(jnp.asarray(batch.reward_PG)))
        ref_logp_PGT, of_reference = None, {}
        if bench.ref_params is not None:
            with clock("ref_logp"):
                reference = bench.learner.log_probs(bench.ref_params, batch.rollout)
                ref_logp_PGT, _ = jax.block_until_ready(reference)
                of_reference = jax.device_get(reference_metrics(batch.rollout, ref_logp_PGT))
        learned, metrics, seen = learn(
            bench.learner,
            learned,
            batch.rollout,
            to_global(adv_PG, bench.placement),
            config.key("selection", step),
            prompts_per_update=config.batch.prompts_per_update,
            num_updates=batch.num_updates,
            ref_logp_PGT=ref_logp_PGT,
            stale_P=None if batch.stale_P is None else to_global(batch.stale_P, bench.placement),
            theory_fraction=config.recording.theory_fraction_at(step),
            entropy_coef=entropy_coef,
            clock=clock,
            on_pause=on_pause,
        )
        metrics |= advantage_metrics(adv_PG[batch.filled_P])
        if config.recording.rollouts_due(step):
            with clock("observatory"):
                mesh, number = bench.placement.mesh, config.recording.num_rollouts
                tokenizer = bench.start.tokenizer
                records = rollout_records(seen, batch, adv_PG, tokenizer, mesh, step=step, number=number)
        metrics |= {name: value.item() for name, value in of_reference.items()}
    metrics = metrics | collected.metrics | sample_metrics(collected.graded) | time_metrics(clock, collected)
    collapsed_steps = config.guard.count(state.collapsed_steps, metrics)
    after = RunState(
        learned=learned,
        surplus=collected.surplus,
        entropy_bonus=entropy_coef.carried,
        collapsed_steps=collapsed_steps,
    )
    return after, metrics | config.guard.metrics(collapsed_steps), records


def collect(
    bench: Workbench, grader: Grader, state: RunState, step: int, clock: Clock, on_pause: Callable[[], None]
) -> Collected:
    """Prompts -> rollout -> rewards: once, or with dynamic sampling until there is enough to learn from."""
    config, params = bench.config, state.learned.params
    seen: list[LogitHealth] = []

    @cache
    def working():  # freed on return: updates need its memory
        if not bench.sampler.needs_working_params(params):
            return params
        with clock("reshard"):
            return jax.block_until_ready(bench.sampler.working_params(params))

    def generate(number: int) -> Generation:
        batch, working_params = next(bench.prompts), working()
        with clock("rollout"):
            prompts = (batch.prompt_ids_PS, batch.prompt_mask_PS, batch.prompt_id_P)
            prompts = to_global(prompts, bench.placement)
            key = config.sampler_key(step, number)
            rollout = bench.sampler(working_params, *prompts, key, on_pause=on_pause, on_health=seen.append)
            jax.block_until_ready(rollout)
        with clock("reward"):
            graded = grade_rollout(rollout, batch.prompts, bench.start.tokenizer, grader, bench.placement)
        return Generation(prompt_id_P=batch.prompt_id_P, rollout=rollout, graded=graded)

    if config.dynamic_sampling is None:
        collected = whole(generate(0), config.batch.updates_per_step)
    else:
        collected = fill(
            config.dynamic_sampling,
            state.surplus,
            generate,
            step=step,
            prompts_per_step=config.batch.prompts_per_step,
            prompts_per_update=config.batch.prompts_per_update,
        )
    return replace(collected, metrics=collected.metrics | health_metrics(seen))

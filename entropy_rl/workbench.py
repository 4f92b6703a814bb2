"""What steps work with, and the step itself: prompts -> rollout -> rewards -> updates -> metrics."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from entropy_rl.config import RunConfig
from entropy_rl.data.graders import Grader
from entropy_rl.data.pipeline import PromptPipeline
from entropy_rl.evaluation import grade_rollout
from entropy_rl.observability.clock import Clock
from entropy_rl.parallelism import batch_sharding, held_rows, to_global
from entropy_rl.sampler import Sampler
from entropy_rl.starting_policy import starting_policy
from entropy_rl.step_metrics import reward_metrics, time_metrics
from entropy_rl.stored_policy import StoredPolicy
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
        placement = batch_sharding(config.mesh.build())
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
                weights=config.task.train_weights,
                seed=config.seed,
                rows=held_rows(placement, config.batch.prompts_per_step),
            ),
            # A copy: the first update takes over the memory of the starting parameters.
            ref_params=jax.tree.map(jnp.copy, start.params) if config.regularizer.needs_reference else None,
            placement=placement,
        )


def take_step(
    bench: Workbench,
    grader: Grader,
    state: TrainState,
    step: int,
    on_pause: Callable[[], None] = lambda: None,
) -> tuple[TrainState, dict[str, float | int]]:
    """One rollout and all of its updates; `state` is donated once the rollout is there.

    `on_pause` is called now and then until the first update; what it raises leaves `state` as it was.
    """
    config, clock = bench.config, Clock()
    batch = next(bench.prompts)
    working = state.params
    if bench.sampler.needs_working_params(state.params):
        with clock("reshard"):
            working = jax.block_until_ready(bench.sampler.working_params(state.params))
    with clock("rollout"):
        prompts = (batch.prompt_ids_PS, batch.prompt_mask_PS, batch.prompt_id_P)
        prompts = to_global(prompts, bench.placement)
        rollout = bench.sampler(working, *prompts, config.key("sampler", step), on_pause=on_pause)
        jax.block_until_ready(rollout)
    del working  # updates need its memory
    with clock("reward"):
        graded = grade_rollout(rollout, batch.prompts, bench.start.tokenizer, grader, bench.placement)
    on_pause()
    adv_PG = np.asarray(config.advantage(jnp.asarray(graded.grades.reward_PG)))
    ref_logp_PGT = None
    if bench.ref_params is not None:
        with clock("ref_logp"):
            ref_logp_PGT, _ = jax.block_until_ready(bench.learner.log_probs(bench.ref_params, rollout))
    state, metrics = learn(
        bench.learner,
        state,
        rollout,
        to_global(adv_PG, bench.placement),
        config.key("selection", step),
        prompts_per_update=config.batch.prompts_per_update,
        ref_logp_PGT=ref_logp_PGT,
        clock=clock,
        on_pause=on_pause,
    )
    return state, metrics | reward_metrics(graded) | time_metrics(clock, graded)

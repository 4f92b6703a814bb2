"""Measuring a policy on the held-out prompts of a configuration's task."""

from collections.abc import Callable
from pathlib import Path

from entropy_rl.config import RunConfig
from entropy_rl.data.graders import Grader
from entropy_rl.evaluation import evaluate
from entropy_rl.observability.bar import Bar
from entropy_rl.parallelism import batch_sharding, is_main
from entropy_rl.starting_policy import load_policy, starting_policy
from entropy_rl.stored_policy import StoredPolicy


def heldout_numbers(
    config: RunConfig,
    stored: StoredPolicy,
    grader: Grader,
    on_pause: Callable[[], None] = lambda: None,
) -> dict[str, float | int]:
    """Accuracy, average@k and pass@k by `config.evaluation`; the sampler calls `on_pause` now and then."""
    prompts = config.heldout_prompts(stored.tokenizer)
    with Bar("evaluation", total=len(prompts), shown=is_main()) as bar:
        report = evaluate(
            config.evaluation_sampler(stored.policy, stored.tokenizer),
            stored.params,
            prompts,
            stored.tokenizer,
            grader,
            config.key("evaluation"),
            max_prompt_tokens=config.task.max_prompt_tokens,
            prompts_per_batch=config.batch.prompts_per_step,
            placement=batch_sharding(config.mesh.build()),
            on_batch=bar.update,
            on_pause=on_pause,
        )
    return report.numbers()


def evaluate_folder(config: RunConfig, directory: Path | None) -> dict[str, float | int]:
    """`heldout_numbers` of the policy in a folder; None takes what the configuration's run would start from.

    Raises ValueError when the configuration has no evaluation.
    """
    if config.evaluation is None:
        raise ValueError("the configuration must have an evaluation, its evaluation is None")
    stored = starting_policy(config) if directory is None else load_policy(config, directory)
    with config.task.open_grader() as grader:
        return heldout_numbers(config, stored, grader)

"""Measuring a policy on the held-out prompts of a configuration's task, and by its suite of benchmarks."""

from collections.abc import Callable, Sequence
from pathlib import Path

from entropy_rl.config import RunConfig
from entropy_rl.data.graders import Grader
from entropy_rl.data.prompts import Prompt
from entropy_rl.data.tokenizers import Tokenizer
from entropy_rl.evaluation import EvaluationReport, evaluate
from entropy_rl.evaluation.problems import Problems
from entropy_rl.evaluation.results import mean_of_means
from entropy_rl.observability.bar import Bar
from entropy_rl.parallelism import batch_sharding, is_main
from entropy_rl.starting_policy import load_policy, starting_policy
from entropy_rl.stored_policy import StoredPolicy
from entropy_rl.suite_evaluation import SuiteEvaluation, read_all_problems


def heldout_numbers(
    config: RunConfig,
    stored: StoredPolicy,
    prompts: Sequence[Prompt],
    grader: Grader,
    on_pause: Callable[[], None] = lambda: None,
) -> dict[str, float | int]:
    """Accuracy, average@k and pass@k by `config.evaluation`; the sampler calls `on_pause` now and then."""
    numbers = _report(config, stored, prompts, grader, on_pause, greedy=False).numbers()
    if config.evaluation.greedy:
        report = _report(config, stored, prompts, grader, on_pause, greedy=True)
        numbers |= {
            "greedy_accuracy": float(report.correct_PG.mean()),
            "greedy_mean_length_tokens": report.mean_length_tokens,
            "greedy_truncated_fraction": report.truncated_fraction,
        }
    return numbers


def _report(
    config: RunConfig,
    stored: StoredPolicy,
    prompts: Sequence[Prompt],
    grader: Grader,
    on_pause: Callable[[], None],
    *,
    greedy: bool,
) -> EvaluationReport:
    sampler = config.evaluation_sampler(stored.policy, stored.tokenizer, greedy=greedy)
    most = config.batch.prompts_per_step
    with Bar("evaluation", total=len(prompts), shown=is_main()) as bar:
        return evaluate(
            sampler,
            stored.params,
            prompts,
            stored.tokenizer,
            grader,
            config.key("evaluation"),
            max_prompt_tokens=config.task.max_prompt_tokens,
            prompts_per_batch=max(most, sampler.prompts_per_wave) if greedy else most,
            placement=batch_sharding(config.mesh.build()),
            on_batch=bar.update,
            on_pause=on_pause,
        )


def heldout_prompts(config: RunConfig, tokenizer: Tokenizer) -> list[Prompt]:
    """The prompts that `config.evaluation` asks; none where there is no evaluation."""
    return [] if config.evaluation is None else config.heldout_prompts(tokenizer)


def validation_problems(config: RunConfig, tokenizer: Tokenizer) -> dict[str, Problems]:
    """The problems of the suite that validates, by benchmark; none, and no file read, where nothing does."""
    validation = config.validation
    if validation is None or not validation.is_ever_due(config.num_steps):
        return {}
    return read_all_problems(validation.suite, tokenizer)


def validation_numbers(
    config: RunConfig,
    stored: StoredPolicy,
    problems: dict[str, Problems],
    on_pause: Callable[[], None] = lambda: None,
) -> dict[str, float | int]:
    """Figures of every benchmark by `config.validation`, and their mean; for the main process alone."""
    validation = config.validation
    evaluation = SuiteEvaluation(
        suite=validation.suite,
        mesh=config.mesh,
        sequences_at_once=validation.at_once(config.sequences_at_once, config.task.max_response_tokens),
    )
    results = evaluation.results(stored, problems, config.key("evaluation"), on_pause=on_pause)
    numbers = {} if not results else {"mean": mean_of_means(results)}
    for result in results:
        numbers |= {f"{result.benchmark.name}/{name}": x for name, x in result.numbers().items()}
    return numbers


def evaluate_folder(config: RunConfig, directory: Path | None) -> dict[str, float | int]:
    """`heldout_numbers` of the policy in a folder; None takes what the configuration's run would start from.

    Raises ValueError when the configuration has no evaluation.
    """
    if config.evaluation is None:
        raise ValueError("the configuration must have an evaluation, its evaluation is None")
    stored = starting_policy(config) if directory is None else load_policy(config, directory)
    with config.task.open_grader() as grader:
        return heldout_numbers(config, stored, heldout_prompts(config, stored.tokenizer), grader)

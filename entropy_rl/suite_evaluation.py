"""Measuring a policy by a suite, benchmark after benchmark; an interrupted run goes on from its records."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import numpy as np

from entropy_rl.data.graders import RuleGrader
from entropy_rl.data.tokenizers import Tokenizer
from entropy_rl.evaluation.benchmark import ask
from entropy_rl.evaluation.problems import Problems, read_problems
from entropy_rl.evaluation.records import Record, RecordFile
from entropy_rl.evaluation.results import BenchmarkResult, in_order_of
from entropy_rl.evaluation.suite import Benchmark, Suite, deviations
from entropy_rl.evaluation.tables import suite_markdown
from entropy_rl.evaluation_folder import EvaluationFolder, summary
from entropy_rl.kernel_choice import Kernels
from entropy_rl.models.fingerprint import fingerprint
from entropy_rl.models.parameters import logical_axes
from entropy_rl.models.policy import Policy
from entropy_rl.observability.bar import Bar
from entropy_rl.observability.json_files import write_atomically, write_json
from entropy_rl.parallelism import (
    MeshConfig,
    batch_sharding,
    is_main,
    num_shards,
    parameter_shardings,
    share,
)
from entropy_rl.rewards.judging import Judges
from entropy_rl.stored_policy import StoredPolicy, read_policy


@dataclass(frozen=True, kw_only=True)
class SuiteEvaluation:
    """A suite and how it is computed."""

    suite: Suite
    mesh: MeshConfig = MeshConfig()
    sequences_at_once: int = 64
    """Responses sampled together, all of a problem at least: they bound the memory of keys and values, and no
    token depends on them."""

    def __post_init__(self):
        if self.sequences_at_once < 1:
            raise ValueError(f"sequences_at_once must be at least 1, got {self.sequences_at_once}")

    def problems_per_batch(self, benchmark: Benchmark) -> int:
        """Problems whose responses are sampled together: one at least on each shard of prompts."""
        shards = num_shards(self.mesh, "batch")
        return shards * max(self.sequences_at_once // (benchmark.num_samples * shards), 1)

    def results(
        self,
        stored: StoredPolicy,
        problems: dict[str, Problems],
        key: jax.Array,
        *,
        folder: EvaluationFolder | None = None,
        on_pause: Callable[[], None] = lambda: None,
    ) -> list[BenchmarkResult]:
        """What the suite says of a policy on the mesh; nothing but in the main process, though all call it.

        Records lie in `folder`, and what is recorded there already is not asked again; None keeps none.
        """
        results = []
        with Judges(self.suite.rewards, num_workers=self.suite.num_judges) as judges:
            for benchmark in self.suite.benchmarks:
                mine = problems[benchmark.name]
                grader = RuleGrader(
                    judges, self.suite.rewards.overlong, max_tokens=benchmark.max_response_tokens
                )
                with _open_records(folder and folder.records_of(benchmark)) as store:
                    self._ask(benchmark, mine, stored, grader, key, store, on_pause)
                    if is_main():
                        results.append(BenchmarkResult.of(benchmark, mine.left_out, store.records))
        return results

    def _ask(self, benchmark, problems, stored, grader, key, store, on_pause) -> None:
        """Adds to the records what they lack."""
        recorded = {record["id"] for record in store.records}
        is_recorded_P = np.array([prompt.prompt_id in recorded for prompt in problems.prompts])
        is_recorded_P = share(is_recorded_P)[0]  # as the main process says, whose records they are
        recorded = {p.prompt_id for p, known in zip(problems.prompts, is_recorded_P, strict=True) if known}
        total = len(problems.prompts)
        with Bar(benchmark.name, total=total, shown=is_main()) as bar:
            bar.update(len(recorded))
            num_tokens, seconds = 0, 0.0
            for records, num_done in ask(
                benchmark,
                problems,
                stored.policy,
                stored.params,
                stored.tokenizer,
                grader,
                key,
                prompts_per_batch=self.problems_per_batch(benchmark),
                placement=batch_sharding(self.mesh.build()),
                is_recorded=lambda prompt: prompt.prompt_id in recorded,
                on_pause=on_pause,
            ):
                store.append(records)
                num_tokens += sum(s["num_tokens"] for record in records for s in record["samples"])
                seconds += sum(record["sampling_seconds"] for record in records)
                bar.update(num_done, f"{num_tokens / max(seconds, 1e-9):.0f} tokens/s")


class _InMemory:
    """Records that nobody keeps."""

    def __init__(self):
        self.records: list[Record] = []

    def append(self, records: list[Record]) -> None:
        self.records.extend(records)


@contextmanager
def _open_records(path: Path | None) -> Iterator[RecordFile | _InMemory]:
    """The file of the main process; others keep nothing."""
    if path is None or not is_main():
        yield _InMemory()
        return
    with RecordFile(path) as file:
        yield file


def read_policy_on(mesh: MeshConfig, directory: Path, dtype: str) -> StoredPolicy:
    """The policy of a folder on a mesh, with the kernels that suit it."""
    built = mesh.build()
    stored = read_policy(
        directory,
        param_dtype=dtype,
        shardings=lambda architecture: parameter_shardings(
            built, logical_axes(architecture), Policy(architecture).abstract_params()
        ),
    )
    kernels = Kernels.of(built, stored.policy.config, dtype)
    return replace(stored, policy=kernels.equip(stored.policy))


def read_all_problems(suite: Suite, tokenizer: Tokenizer) -> dict[str, Problems]:
    """The problems of every benchmark by its name."""
    return {b.name: read_problems(suite.file_of(b), b, tokenizer) for b in suite.benchmarks}


def evaluate_policy(
    evaluation: SuiteEvaluation,
    policy: Path,
    *,
    defined: Suite,
    dtype: str,
    seed: int,
    output: Path,
) -> str:
    """Evaluates the policy of a folder and returns the table; of `defined` the suite may be a part.

    Goes on where an earlier run with this output was interrupted, and tells of all benchmarks of `defined`
    that are complete there. Raises ValueError when that run had another policy, another seed, other rewards
    or asked one of these benchmarks otherwise.
    """
    suite = evaluation.suite
    stored = read_policy_on(evaluation.mesh, policy, dtype)
    problems = read_all_problems(suite, stored.tokenizer)
    folder = EvaluationFolder(path=output)
    identity = {"parameters": fingerprint(stored.params), "dtype": dtype}
    if is_main():
        folder.claim(suite, problems, policy=identity, seed=seed)
    results = evaluation.results(stored, problems, jax.random.key(seed), folder=folder)
    if not is_main():
        return ""
    results += folder.results(defined, but={benchmark.name for benchmark in suite.benchmarks})
    results = in_order_of(defined, results)
    told = replace(defined, benchmarks=tuple(result.benchmark for result in results))
    notes = [*deviations(defined, told), *_positions(told, stored)]
    write_json(output / "summary.json", summary(policy, defined, results, notes))
    table = suite_markdown(policy.resolve().name, defined, results, notes)
    write_atomically(output / "table.md", table.encode())
    return table


def _positions(suite: Suite, stored: StoredPolicy) -> list[str]:
    known = stored.policy.config.max_positions
    asked = max(b.max_prompt_tokens + b.max_response_tokens for b in suite.benchmarks)
    return [f"the policy was made for {known} positions, fewer than {asked}"] if asked > known else []

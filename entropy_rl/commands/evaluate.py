"""python -m entropy_rl evaluate"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro
from etils import epath

from entropy_rl.commands.configured import Configured
from entropy_rl.heldout import evaluate_folder
from entropy_rl.parallelism import MeshConfig, Processes, is_main, joined
from entropy_rl.suite_evaluation import SuiteEvaluation, evaluate_policy
from entropy_rl.suite_file import load_suite


@dataclass(frozen=True, kw_only=True)
class EvaluateSuite:
    """Measure a policy by a suite of benchmarks; prints the table as the paper has it.

    Writes records of every problem, summary.json and table.md to a folder, and goes on there when it is
    started again after an interruption, or with other benchmarks of the suite. The suite "paper" asks AIME24,
    AIME25 and AMC23 32 times at temperature 0.6, and MATH-500, OMNI-MATH, OlympiadBench and Minerva greedily.

    python -m entropy_rl evaluate --policy DIR --suite paper --benchmarks math500
    """

    policy: Path
    """Hugging Face folder, or the folder of a run (its newest checkpoint)."""
    suite: str = "paper"
    """Name of a suite, or a Python file whose get_suite() returns one."""
    benchmarks: str | None = None
    """Ask only these, as aime24,math500 (None: all)."""
    data_folder: str | None = None
    """Where the files of the benchmarks lie, as math500/test.jsonl, here or on gs:// (None: as the suite
    says, data/)."""
    output: Path | None = None
    """Folder of the results (None: evaluations/POLICY-SUITE)."""
    num_samples: int | None = None
    """Samples of each problem of the benchmarks that sample (None: as the suite says)."""
    max_response_tokens: int | None = None
    """Longest response (None: as the suite says)."""
    max_problems: int | None = None
    """Ask only the first so many problems of each benchmark (None: all)."""
    sequences_at_once: int = SuiteEvaluation.sequences_at_once
    """Responses sampled together, all of a problem at least: what memory allows; no token depends on it."""
    num_judges: int | None = None
    """Processes that judge, of each kind of judge (None: as the suite says)."""
    seed: int = 0
    """Same seed, same responses."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Dtype of parameters and activations; bfloat16 takes half the memory and keeps 8 bits."""
    mesh: MeshConfig = MeshConfig()
    processes: Annotated[Processes, tyro.conf.arg(name="")] = Processes()

    def run(self) -> None:
        defined = load_suite(self.suite)
        if self.data_folder is not None:
            defined = replace(defined, data_folder=epath.Path(self.data_folder))
        suite = defined.shortened(
            num_samples=self.num_samples,
            max_response_tokens=self.max_response_tokens,
            max_problems=self.max_problems,
        )
        if self.benchmarks is not None:
            suite = suite.only(self.benchmarks.split(","))
        if self.num_judges is not None:
            suite = replace(suite, num_judges=self.num_judges)
        evaluation = SuiteEvaluation(suite=suite, mesh=self.mesh, sequences_at_once=self.sequences_at_once)
        output = self.output or Path("evaluations") / f"{self.policy.resolve().name}-{suite.name}"
        with joined(self.processes):
            table = evaluate_policy(
                evaluation, self.policy, defined=defined, dtype=self.dtype, seed=self.seed, output=output
            )
            if is_main():
                print(table)


@dataclass(frozen=True, kw_only=True)
class Evaluate(Configured):
    """Measure a policy on the held-out prompts of a configuration's task: accuracy = average@n, pass@k.

    With --policy it is measured by a suite of benchmarks instead, such as the paper's, and without a
    configuration: python -m entropy_rl evaluate --policy DIR --suite paper --help tells how.
    """

    from_policy: Path | None = None
    """Hugging Face folder or folder of a run; by default what the configuration's run would start from."""
    output: Path | None = None
    """Write the numbers to this JSON file as well."""
    processes: Annotated[Processes, tyro.conf.arg(name="")] = Processes()

    @classmethod
    def form(cls, flags: Sequence[str]) -> type:
        """The command that these flags mean."""
        return EvaluateSuite if {"--policy", "--suite"} & set(flags) else cls

    def run(self) -> None:
        with joined(self.processes):
            numbers = evaluate_folder(self.settings, self.from_policy)
            if is_main():
                self._write(json.dumps(numbers, indent=2))

    def _write(self, text: str) -> None:
        print(text)
        if self.output is not None:
            self.output.write_text(text + "\n")

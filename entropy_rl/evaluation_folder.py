"""The folder of an evaluation, which takes one benchmark after the other, in one run or in several.

OUTPUT/settings.json        what decides the records; another policy, seed or rewards, or a benchmark asked
                            otherwise than its records were, is refused
OUTPUT/records/NAME.jsonl   an object a problem, as soon as it is judged
OUTPUT/summary.json         every figure of all benchmarks that are complete
OUTPUT/table.md             the same as the paper shows it
"""

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from entropy_rl.evaluation.problems import LeftOut, Problems
from entropy_rl.evaluation.records import read_records
from entropy_rl.evaluation.results import BenchmarkResult, unweighted_mean
from entropy_rl.evaluation.suite import Benchmark, Suite
from entropy_rl.observability.json_files import json_value, write_json

_SHORTENED = ("num_samples", "max_response_tokens", "max_problems")
"""Fields of a benchmark that a run may change."""


@dataclass(frozen=True, kw_only=True)
class EvaluationFolder:
    """Where the records and the figures of one policy lie; for the main process alone."""

    path: Path

    def records_of(self, benchmark: Benchmark) -> Path:
        """The file of its records."""
        return self.path / "records" / f"{benchmark.name}.jsonl"

    def claim(self, suite: Suite, problems: dict[str, Problems], **settings) -> None:
        """Adds benchmarks to the settings; raises ValueError where they differ from those of its records."""
        self.path.mkdir(parents=True, exist_ok=True)
        asked = {b.name: _asked(b, problems[b.name]) for b in suite.benchmarks}
        now = json_value({**settings, "rewards": suite.rewards, "benchmarks": asked})
        earlier = self._settings() or now
        differing = [f"another {name}" for name in ("policy", "seed") if now[name] != earlier.get(name)]
        differing += ["other rewards"] if now["rewards"] != earlier.get("rewards") else []
        known = earlier.get("benchmarks", {})
        others = [name for name, mine in now["benchmarks"].items() if known.get(name, mine) != mine]
        differing += [f"other settings or problems of {', '.join(others)}"] if others else []
        if differing:
            raise ValueError(
                "an evaluation must go on with the policy, the seed, the rewards and the benchmarks it was "
                f"begun with; {self.path} was begun with {' and '.join(differing)}; give another --output, "
                "or what it was begun with"
            )
        write_json(self._file, {**now, "benchmarks": {**known, **now["benchmarks"]}})

    def results(self, defined: Suite, but: Collection[str]) -> list[BenchmarkResult]:
        """What is complete of the benchmarks of a suite, but for those of these names."""
        known = self._settings()["benchmarks"]
        found = (self._result(b, known[b.name]) for b in defined.benchmarks if b.name in known.keys() - but)
        return [result for result in found if result is not None]

    def _result(self, benchmark: Benchmark, known: dict) -> BenchmarkResult | None:
        benchmark = replace(benchmark, **{name: known["asked"][name] for name in _SHORTENED})
        records = read_records(self.records_of(benchmark))
        if len(records) < known["num_problems"] or json_value(benchmark) != known["asked"]:
            return None  # begun only, or a benchmark of another suite by the same name
        return BenchmarkResult.of(benchmark, LeftOut(**known["left_out"]), records)

    def _settings(self) -> dict:
        return json.loads(self._file.read_text()) if self._file.is_file() else {}

    @property
    def _file(self) -> Path:
        return self.path / "settings.json"


def _asked(benchmark: Benchmark, problems: Problems) -> dict:
    return {
        "asked": benchmark,
        "problems": problems.digest,
        "num_problems": len(problems.prompts),
        "left_out": asdict(problems.left_out),
    }


def summary(policy: Path, defined: Suite, results: list[BenchmarkResult], notes: list[str]) -> dict:
    """Every figure, for a machine to read."""

    def of(result: BenchmarkResult) -> dict:
        intervals = {name: asdict(estimate) for name, estimate in result.estimates.items()}
        return {"asked": result.benchmark, **result.numbers(), **result.speed(), "intervals": intervals}

    whole = len(results) == len(defined.benchmarks)
    return {
        "policy": str(policy),
        "suite": defined.name,
        "notes": notes,
        "unweighted_mean": asdict(unweighted_mean(results)) if whole else None,
        "benchmarks": {result.benchmark.name: of(result) for result in results},
    }

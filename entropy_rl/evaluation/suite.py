"""A suite: benchmarks, and how each is asked. All that decides its figures stands in it, as data."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path

from entropy_rl.data.prompt_files import PromptFile
from entropy_rl.evaluation.pass_at_k import ks_up_to
from entropy_rl.paths import AnyPath
from entropy_rl.rewards.rules import RewardRules
from entropy_rl.sampler import Sampling


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A set of problems, and how a policy is asked them."""

    name: str
    """In file names and names of metrics, and as --benchmarks takes it."""
    heading: str
    """In tables."""
    prompts: PromptFile
    """Its file, which a relative path places in the suite's folder of data."""
    num_samples: int
    """n, responses to each problem: mean@n and maj@n over all of them, and both at powers of two below."""
    sampling: Sampling
    """How tokens are drawn: temperature, top-p, top-k."""
    max_prompt_tokens: int = 2048
    """Longer prompts are left out and counted."""
    max_response_tokens: int = 8192
    """Longer responses are cut, and counted as such."""
    max_problems: int | None = None
    """Ask only the first so many problems (None: all)."""

    def __post_init__(self):
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", self.name):
            raise ValueError(
                "a benchmark's name must be letters, digits, dots, dashes and underscores, got "
                f"{self.name!r}; choose one such as math500"
            )
        for name in ("num_samples", "max_prompt_tokens", "max_response_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} of {self.name} must be at least 1, got {getattr(self, name)}")
        if self.max_problems is not None and self.max_problems < 1:
            raise ValueError(
                f"max_problems of {self.name} must be at least 1, got {self.max_problems}; None asks all"
            )

    @property
    def is_greedy(self) -> bool:
        """Whether every sample of a problem would be the same."""
        return self.sampling.top_k == 1

    @property
    def ks(self) -> tuple[int, ...]:
        """The k of pass@k and maj@k."""
        return ks_up_to(self.num_samples)


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Benchmarks that are reported together."""

    name: str
    """In tables, and in the name of the folder of results."""
    benchmarks: tuple[Benchmark, ...]
    """In the order of the table's columns."""
    data_folder: AnyPath = Path("data")
    """Where the files of the benchmarks lie, one folder each."""
    rewards: RewardRules = RewardRules()
    """How responses are judged, by the data source of their problem."""
    num_judges: int = 2
    """Processes of each judge."""

    def __post_init__(self):
        names = [benchmark.name for benchmark in self.benchmarks]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"a suite must have benchmarks, each of another name; {self.name} has {names}")

    def file_of(self, benchmark: Benchmark) -> PromptFile:
        """The file of a benchmark, where it lies."""
        return replace(benchmark.prompts, path=self.data_folder / benchmark.prompts.path)

    def only(self, names: Iterable[str]) -> "Suite":
        """The suite with these of its benchmarks, in its own order."""
        names, known = set(names), {benchmark.name for benchmark in self.benchmarks}
        if names - known:
            raise ValueError(
                f"benchmarks must be among those of the suite {self.name}, {', '.join(sorted(known))}; got "
                f"{', '.join(sorted(names - known))}"
            )
        return replace(self, benchmarks=tuple(b for b in self.benchmarks if b.name in names))

    def shortened(
        self,
        *,
        num_samples: int | None = None,
        max_response_tokens: int | None = None,
        max_problems: int | None = None,
    ) -> "Suite":
        """The suite with other numbers in all benchmarks, where they are given.

        `num_samples` is for those that sample: of a greedy one every sample would be the same.
        """

        def changed(benchmark: Benchmark) -> Benchmark:
            numbers = {
                "num_samples": None if benchmark.is_greedy else num_samples,
                "max_response_tokens": max_response_tokens,
                "max_problems": max_problems,
            }
            return replace(benchmark, **{name: n for name, n in numbers.items() if n is not None})

        return replace(self, benchmarks=tuple(changed(benchmark) for benchmark in self.benchmarks))


def deviations(defined: Suite, asked: Suite) -> list[str]:
    """What was asked otherwise than the suite defines it, each once with the benchmarks it is true of."""
    by_name = {benchmark.name: benchmark for benchmark in asked.benchmarks}
    found: dict[str, list[str]] = {}
    for want in defined.benchmarks:
        got = by_name.get(want.name)
        if got is None:
            found.setdefault("not asked, or not to the end", []).append(want.heading)
            continue
        for name in (field.name for field in fields(want)):
            old, new = getattr(want, name), getattr(got, name)
            if old != new:
                change = f"{name} {new} instead of {'all' if old is None else old}"
                found.setdefault(change, []).append(want.heading)
    return [f"{change}: {', '.join(headings)}" for change, headings in found.items()]

"""What the records of benchmarks say: means over problems with their intervals, lengths and speed."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float64

from entropy_rl.evaluation.bootstrap import Estimate, estimate, resampled_means
from entropy_rl.evaluation.majority import MOST_SAMPLES, majority_at_k
from entropy_rl.evaluation.pass_at_k import pass_at_k_P
from entropy_rl.evaluation.problems import LeftOut
from entropy_rl.evaluation.records import Record
from entropy_rl.evaluation.suite import Benchmark, Suite


@dataclass(frozen=True, kw_only=True)
class BenchmarkResult:
    """The figures of one benchmark."""

    benchmark: Benchmark
    num_problems: int
    left_out: LeftOut
    """Rows of its file that were not asked."""
    measures: dict[str, Float64[np.ndarray, " P"]]
    """mean@n, then pass@k and maj@k for several k: of each problem. No maj@k of very many samples."""
    mean_length_tokens: float
    truncated_fraction: float
    """Responses that were cut at the limit of tokens."""
    unanswered_fraction: float
    """Responses in which no answer was found; those whose judging was stopped are not among them."""
    num_timeouts: int
    """Responses whose judging was stopped at its time limit."""
    num_tokens: int
    sampling_seconds: float
    """The compiler's included."""
    judging_seconds: float

    @classmethod
    def of(cls, benchmark: Benchmark, left_out: LeftOut, records: Sequence[Record]) -> "BenchmarkResult":
        """From the records of all problems that were asked."""
        samples = [sample for record in records for sample in record["samples"]]
        lengths = [sample["num_tokens"] for sample in samples]
        return cls(
            benchmark=benchmark,
            num_problems=len(records),
            left_out=left_out,
            measures=_measures(benchmark, records),
            mean_length_tokens=float(np.mean(lengths)),
            truncated_fraction=float(np.mean([sample["truncated"] for sample in samples])),
            unanswered_fraction=float(np.mean([_is_unanswered(sample) for sample in samples])),
            num_timeouts=sum(sample["timed_out"] for sample in samples),
            num_tokens=sum(lengths),
            sampling_seconds=sum(record["sampling_seconds"] for record in records),
            judging_seconds=sum(record["judging_seconds"] for record in records),
        )

    @cached_property
    def resampled_RM(self) -> Float64[np.ndarray, "R M"]:
        """Every measure of as many problems, drawn anew again and again, mean@n first."""
        # The same problems are drawn whatever the policy, so that differences of policies are paired.
        return resampled_means(np.stack(list(self.measures.values()), axis=1), self.benchmark.name)

    @cached_property
    def estimates(self) -> dict[str, Estimate]:
        """The measures as fractions of the problems, with their intervals."""
        return {
            name: estimate(float(value_P.mean()), resampled_R)
            for (name, value_P), resampled_R in zip(self.measures.items(), self.resampled_RM.T, strict=True)
        }

    @property
    def mean(self) -> Estimate:
        """mean@n."""
        return self.estimates[self._mean_at_n]

    @property
    def fraction_right(self) -> float:
        """mean@n without its interval, which takes its time."""
        return float(self.measures[self._mean_at_n].mean())

    @property
    def _mean_at_n(self) -> str:
        return f"mean@{self.benchmark.num_samples}"

    def numbers(self) -> dict[str, float | int]:
        """Figures by name, without intervals; all follow from the policy and the seed."""
        return {
            "num_problems": self.num_problems,
            **asdict(self.left_out),
            **{name: float(value_P.mean()) for name, value_P in self.measures.items()},
            "mean_length_tokens": self.mean_length_tokens,
            "truncated_fraction": self.truncated_fraction,
            "unanswered_fraction": self.unanswered_fraction,
            "judge_timeouts": self.num_timeouts,
        }

    def speed(self) -> dict[str, float]:
        """How fast they came about."""
        num_responses = self.num_problems * self.benchmark.num_samples
        return {
            "sampling_seconds": self.sampling_seconds,
            "judging_seconds": self.judging_seconds,
            "tokens_per_second": self.num_tokens / max(self.sampling_seconds, 1e-9),
            "judged_per_second": num_responses / max(self.judging_seconds, 1e-9),
        }


def unweighted_mean(results: Sequence[BenchmarkResult]) -> Estimate:
    """The mean of the benchmarks' mean@n, each counting alike; problems are drawn anew within each."""
    resampled_R = np.mean([result.resampled_RM[:, 0] for result in results], axis=0)
    return estimate(mean_of_means(results), resampled_R)


def mean_of_means(results: Sequence[BenchmarkResult]) -> float:
    """`unweighted_mean` without its interval."""
    return float(np.mean([result.fraction_right for result in results]))


def in_order_of(suite: Suite, results: Sequence[BenchmarkResult]) -> list[BenchmarkResult]:
    """The results as a suite has their benchmarks, to which all must belong."""
    place = {benchmark.name: number for number, benchmark in enumerate(suite.benchmarks)}
    return sorted(results, key=lambda result: place[result.benchmark.name])


def _is_unanswered(sample: dict) -> bool:
    return sample["extracted"] is None and not sample["timed_out"]


def _measures(benchmark: Benchmark, records: Sequence[Record]) -> dict[str, Float64[np.ndarray, " P"]]:
    """The value of every measure for each problem, mean@n first."""

    def of_samples(record: Record, name: str) -> list:
        return [sample[name] for sample in record["samples"]]

    correct_PG = np.array([of_samples(record, "correct") for record in records], bool)
    answers = [of_samples(record, "extracted") for record in records]
    measures = {f"mean@{benchmark.num_samples}": correct_PG.mean(axis=1)}
    for k in benchmark.ks:
        measures[f"pass@{k}"] = pass_at_k_P(correct_PG, k)
    for k in benchmark.ks if benchmark.num_samples <= MOST_SAMPLES else ():
        solved = [
            majority_at_k(correct_G.tolist(), answer_G, k)
            for correct_G, answer_G in zip(correct_PG, answers, strict=True)
        ]
        measures[f"maj@{k}"] = np.array(solved, np.float64)
    return measures

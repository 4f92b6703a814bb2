"""What the records of benchmarks say: means over problems with their intervals, lengths and speed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from entropy_rl.evaluation.bootstrap import Estimate, estimate, resampled_means
from entropy_rl.evaluation.majority import majority_at_k
from entropy_rl.evaluation.pass_at_k import pass_at_k_P
from entropy_rl.evaluation.records import Record
from entropy_rl.evaluation.suite import Benchmark


@dataclass(frozen=True, kw_only=True)
class BenchmarkResult:
    """The figures of one benchmark."""

    benchmark: Benchmark
    num_problems: int
    num_too_long: int
    """Problems that were not asked, since their prompts are too long."""
    estimates: dict[str, Estimate]
    """mean@n, and pass@k and maj@k for several k: fractions of the problems."""
    resampled_mean_R: Float64[np.ndarray, " R"]
    """mean@n of as many problems, drawn anew again and again."""
    mean_length_tokens: float
    truncated_fraction: float
    """Responses that were cut at the limit of tokens."""
    unanswered_fraction: float
    """Responses in which no answer was found."""
    num_timeouts: int
    """Responses whose judging was stopped at its time limit."""
    num_tokens: int
    sampling_seconds: float
    """The compiler's included."""
    judging_seconds: float

    @classmethod
    def of(cls, benchmark: Benchmark, num_too_long: int, records: Sequence[Record]) -> "BenchmarkResult":
        """From the records of all problems that were asked."""
        samples = [sample for record in records for sample in record["samples"]]
        lengths = [sample["num_tokens"] for sample in samples]
        measures = _measures(benchmark, records)
        # The same problems are drawn whatever the policy, so that differences of policies are paired.
        resampled_RM = resampled_means(np.stack(list(measures.values()), axis=1), benchmark.name)
        estimates = {
            name: estimate(float(value_P.mean()), resampled_R)
            for (name, value_P), resampled_R in zip(measures.items(), resampled_RM.T, strict=True)
        }
        return cls(
            benchmark=benchmark,
            num_problems=len(records),
            num_too_long=num_too_long,
            estimates=estimates,
            resampled_mean_R=resampled_RM[:, 0],
            mean_length_tokens=float(np.mean(lengths)),
            truncated_fraction=float(np.mean([sample["truncated"] for sample in samples])),
            unanswered_fraction=float(np.mean([sample["extracted"] is None for sample in samples])),
            num_timeouts=sum(sample["timed_out"] for sample in samples),
            num_tokens=sum(lengths),
            sampling_seconds=sum(record["sampling_seconds"] for record in records),
            judging_seconds=sum(record["judging_seconds"] for record in records),
        )

    @property
    def mean(self) -> Estimate:
        """mean@n."""
        return self.estimates[f"mean@{self.benchmark.num_samples}"]

    def numbers(self) -> dict[str, float | int]:
        """Figures by name, without intervals; all follow from the policy and the seed."""
        return {
            "num_problems": self.num_problems,
            "num_too_long": self.num_too_long,
            **{name: value.mean for name, value in self.estimates.items()},
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
    mean = float(np.mean([result.mean.mean for result in results]))
    return estimate(mean, np.mean([result.resampled_mean_R for result in results], axis=0))


def _measures(benchmark: Benchmark, records: Sequence[Record]) -> dict[str, Float64[np.ndarray, " P"]]:
    """The value of every measure for each problem, mean@n first."""

    def of_samples(record: Record, name: str) -> list:
        return [sample[name] for sample in record["samples"]]

    correct_PG = np.array([of_samples(record, "correct") for record in records], bool)
    answers = [of_samples(record, "extracted") for record in records]
    measures = {f"mean@{benchmark.num_samples}": correct_PG.mean(axis=1)}
    for k in benchmark.ks:
        measures[f"pass@{k}"] = pass_at_k_P(correct_PG, k)
    for k in benchmark.ks:
        solved = [
            majority_at_k(correct_G.tolist(), answer_G, k)
            for correct_G, answer_G in zip(correct_PG, answers, strict=True)
        ]
        measures[f"maj@{k}"] = np.array(solved, np.float64)
    return measures

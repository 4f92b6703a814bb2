"""The paper's evaluation (arXiv 2505.22617, section 4.3): its suite, and what it printed of it.

AIME24, AIME25 and AMC23 are sampled 32 times at temperature 0.6, the others answered greedily. Of lengths the
paper says only that training generated up to 8,192 tokens; prompts of its scripts have up to 2,048. It names
no top-p: 1 here.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from entropy_rl.data import benchmarks
from entropy_rl.data.prompt_files import PromptFile
from entropy_rl.evaluation.suite import Benchmark, Suite
from entropy_rl.sampler import GREEDY, Sampling

_LENGTHS = dict(max_prompt_tokens=2048, max_response_tokens=8192)
_SAMPLED = dict(num_samples=32, sampling=Sampling(temperature=0.6, top_p=1.0, top_k=None), **_LENGTHS)
_GREEDY = dict(num_samples=1, sampling=GREEDY, **_LENGTHS)


def _benchmark(heading: str, file: PromptFile, how: dict) -> Benchmark:
    return Benchmark(name=file.schema.data_source, heading=heading, prompts=file, **how)


PAPER = Suite(
    name="paper",
    benchmarks=(
        _benchmark("AIME24", benchmarks.AIME24, _SAMPLED),
        _benchmark("AIME25", benchmarks.AIME25, _SAMPLED),
        _benchmark("AMC", benchmarks.AMC23, _SAMPLED),
        _benchmark("MATH500", benchmarks.MATH500, _GREEDY),
        _benchmark("OMNI", benchmarks.OMNI_MATH, _GREEDY),
        _benchmark("Olymp", benchmarks.OLYMPIAD_BENCH, _GREEDY),
        _benchmark("Minerva", benchmarks.MINERVA, _GREEDY),
    ),
)


@dataclass(frozen=True, kw_only=True)
class PrintedRow:
    """A row of the paper's table 2, in percent."""

    policy: str
    scores: Mapping[str, float]
    """By the name of the benchmark."""
    average: float
    """As printed under "Avg."; not the mean of the scores, and how it was weighted is not said."""


def _row(policy: str, *scores: float, average: float) -> PrintedRow:
    """Of scores in the order of the table, which is the suite's."""
    names = (benchmark.name for benchmark in PAPER.benchmarks)
    return PrintedRow(policy=policy, scores=dict(zip(names, scores, strict=True)), average=average)


PRINTED = (
    _row("7B GRPO", 21.2, 9.6, 58.7, 78.8, 27.9, 40.7, 36.7, average=38.6),
    _row("7B clip-higher", 18.1, 11.5, 56.6, 79.2, 29.8, 43.3, 40.4, average=38.8),
    _row("7B Clip-Cov", 22.1, 15.8, 58.2, 80.4, 30.5, 44.1, 41.1, average=40.4),
    _row("7B KL-Cov", 22.6, 12.9, 61.4, 80.8, 29.1, 42.6, 38.2, average=40.6),
    _row("32B GRPO", 21.8, 16.2, 69.7, 84.2, 35.2, 43.6, 45.5, average=45.8),
    _row("32B clip-higher", 35.6, 22.3, 69.5, 77.2, 35.1, 42.5, 43.0, average=47.2),
    _row("32B Clip-Cov", 32.3, 22.7, 67.2, 87.0, 42.0, 57.2, 46.0, average=50.3),
    _row("32B KL-Cov", 36.8, 30.8, 74.5, 84.6, 39.1, 49.0, 46.3, average=52.2),
)

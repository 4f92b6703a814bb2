"""The results of a suite in the form of the paper's table, as Markdown."""

from collections.abc import Sequence

from entropy_rl.evaluation.bootstrap import COVERAGE, Estimate
from entropy_rl.evaluation.paper import PAPER, PRINTED, PrintedRow
from entropy_rl.evaluation.results import BenchmarkResult, unweighted_mean
from entropy_rl.evaluation.suite import Benchmark, Suite

_ABSENT = "-"


def suite_markdown(
    policy: str, suite: Suite, results: Sequence[BenchmarkResult], notes: Sequence[str] = ()
) -> str:
    """The table of a policy's results, how they came about, and for the paper's suite what the paper printed.

    `suite` has every column of the table, asked or not. There is a mean only where all were asked.
    """
    lines = [
        f"# {policy} on the suite {suite.name}",
        "",
        f"mean@n in percent, with bootstrap intervals of {100 * COVERAGE:.0f} % over problems. "
        + _mean_is(suite, results),
        "",
        *_scores(policy, suite, results),
        "",
        *_details(results),
    ]
    if notes:
        lines += ["", "Otherwise than the suite defines it, or to be known:", "", *(f"- {n}" for n in notes)]
    if _asks_as_the_paper(suite):
        lines += ["", *_printed()]
    return "\n".join([*lines, ""])


def _mean_is(suite: Suite, results: Sequence[BenchmarkResult]) -> str:
    if len(results) == len(suite.benchmarks):
        return f"Mean: of all columns of this suite ({len(results)}), each counting alike."
    return f"Only {len(results)} of the {len(suite.benchmarks)} columns were asked, so there is no mean."


def _scores(policy: str, suite: Suite, results: Sequence[BenchmarkResult]) -> list[str]:
    by_name = {result.benchmark.name: result for result in results}
    asked = [by_name.get(benchmark.name) for benchmark in suite.benchmarks]
    cells = [_percent(result and result.mean) for result in asked]
    whole = len(results) == len(suite.benchmarks)
    mean = _percent(unweighted_mean(results) if whole else None)
    headings = [benchmark.heading for benchmark in suite.benchmarks]
    return _table(["policy", *headings, "Mean"], [[policy, *cells, mean]])


def _details(results: Sequence[BenchmarkResult]) -> list[str]:
    headings = [
        "benchmark",
        "problems",
        "too long",
        "duplicates",
        "malformed",
        "n",
        "drawn",
        "tokens <=",
        "mean@n",
        "pass@n",
        "maj@n",
        "mean tokens",
        "cut",
        "no answer",
        "tokens/s",
        "judged/s",
        "seconds",
    ]
    return _table(headings, [_details_of(result) for result in results])


def _details_of(result: BenchmarkResult) -> list[str]:
    benchmark, speed = result.benchmark, result.speed()
    n = benchmark.num_samples
    return [
        benchmark.heading,
        str(result.num_problems),
        str(result.left_out.num_too_long),
        str(result.left_out.num_duplicates),
        str(result.left_out.num_malformed),
        str(n),
        _drawn(benchmark),
        str(benchmark.max_response_tokens),
        *(_percent(result.estimates.get(f"{measure}@{n}")) for measure in ("mean", "pass", "maj")),
        f"{result.mean_length_tokens:.0f}",
        f"{100 * result.truncated_fraction:.1f} %",
        f"{100 * result.unanswered_fraction:.1f} %",
        f"{speed['tokens_per_second']:.0f}",
        f"{speed['judged_per_second']:.0f}",
        f"{result.sampling_seconds + result.judging_seconds:.0f}",
    ]


def _drawn(benchmark: Benchmark) -> str:
    if benchmark.is_greedy:
        return "greedy"
    sampling = benchmark.sampling
    top_k = "" if sampling.top_k is None else f", top-k {sampling.top_k}"
    return f"T {sampling.temperature:g}, top-p {sampling.top_p:g}{top_k}"


def _asks_as_the_paper(suite: Suite) -> bool:
    """Whether some of its problems are those of the paper, however many and however they are drawn."""
    papers = {benchmark.name: benchmark.prompts for benchmark in PAPER.benchmarks}
    return any(papers.get(benchmark.name) == benchmark.prompts for benchmark in suite.benchmarks)


def _printed() -> list[str]:
    """The paper's own table, with all of its columns."""

    def row(printed: PrintedRow) -> list[str]:
        scores = [printed.scores[benchmark.name] for benchmark in PAPER.benchmarks]
        means = f"{sum(scores) / len(scores):.2f}", f"{printed.average:.1f}"
        return [printed.policy, *(f"{score:.1f}" for score in scores), *means]

    headings = [benchmark.heading for benchmark in PAPER.benchmarks]
    return [
        "The paper's own figures (arXiv 2505.22617, table 2), of Qwen2.5 policies. Mean: of its seven "
        "columns. Its printed average is not that, and how it is weighted is not said: compare means of all "
        "seven only.",
        "",
        *_table(["paper", *headings, "Mean", "printed Avg."], [row(printed) for printed in PRINTED]),
    ]


def _percent(estimate: Estimate | None) -> str:
    if estimate is None:
        return _ABSENT
    mean, low, high = (100 * x for x in (estimate.mean, estimate.low, estimate.high))
    return f"{mean:.1f} [{low:.1f}, {high:.1f}]"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (headings, ["---"] * len(headings), *rows)]

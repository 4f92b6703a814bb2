"""Results of the benchmarks as Markdown."""

import math

from entropy_rl.bench.kernels import KernelRow
from entropy_rl.bench.tpu_statistics import TPURow


def kernel_table(rows: list[KernelRow]) -> str:
    """The rows as a table."""
    lines = [
        "| shape | T x D x V, dtype | implementation | ms (range) | temp MiB | to all logits | to ceiling |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        low, high = (f"{1e3 * seconds:.4g}" for seconds in row.seconds_range)
        lines.append(
            f"| {row.shape} | {row.num_tokens} x {row.hidden_size} x {row.vocab_size}, {row.dtype} "
            f"| {row.implementation} | {1e3 * row.seconds:.4g} ({low}-{high}) | {row.temp_mib:,.0f} "
            f"| {row.ratio_to_naive:.2f} | {row.ratio_to_ceiling:.2f} ({row.num_products} products) |"
        )
    return "\n".join(lines)


def selection_table(rows: list[dict]) -> str:
    """The rows of `bench_selection` as a table."""
    lines = ["| tokens | ms | ns a token | temp MiB | to a sort | to one copy |", "|---|---|---|---|---|---|"]
    for row in rows:
        ratio = f"{row['ratio_to_sort']:.3f}" if "ratio_to_sort" in row else "not sorted"
        lines.append(
            f"| {row['tokens']:,} | {1e3 * row['seconds']:.4g} | {row['ns_per_token']:.1f} "
            f"| {row['temp_mib']:,.1f} | {ratio} | {row['ratio_to_ceiling']:.1f} |"
        )
    return "\n".join(lines)


def tpu_table(rows: list[TPURow]) -> str:
    """The rows of `tpu_statistics_rows` as a table."""
    lines = [
        "| chip | head | temp MiB | all logits MiB | products | HBM GB | matrix ms | modelled ms | ratio |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        layout = "[V, D]" if row.vocab_axis == 0 else "[D, V]"
        naive = "" if math.isnan(row.naive_temp_mib) else f"{row.naive_temp_mib:,.0f}"
        lines.append(
            f"| {row.chip} | {layout} | {row.temp_mib:.0f} | {naive} | {row.passes} | {row.hbm_gb:.1f} "
            f"| {row.matrix_ms:.1f} | {row.modelled_ms:.1f} | {row.ratio:.2f} |"
        )
    return "\n".join(lines)


def selection_cost_table(costs: list[dict]) -> str:
    """What `modelled_cost` says, a row each, in the worst case: all ties must be broken."""
    lines = [
        "| 256 chips | objective | temp MiB | histograms | collectives | modelled ms | of a 7B update |",
        "|---|---|---|---|---|---|---|",
    ]
    for cost in costs:
        lines.append(
            f"| {cost['chip']} | {cost['objective']} | {cost['temp_bytes'] / 2**20:.1f} "
            f"| {cost['histograms_with_ties']:.0f} | {cost['collectives_with_ties']:.0f} "
            f"| {1e3 * cost['seconds_with_ties']:.1f} | {100 * cost['share_of_step_with_ties']:.3f} % |"
        )
    return "\n".join(lines)

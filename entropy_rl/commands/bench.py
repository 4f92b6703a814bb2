"""python -m entropy_rl bench step | observatory | kernels | tpu | device"""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import jax
import tyro

from entropy_rl.bench.device import HEADER as DEVICE_HEADER
from entropy_rl.bench.device import bench_device, device_line, device_numbers, measure_roofline, roofline_line
from entropy_rl.bench.device_workloads import WORKLOADS as DEVICE_WORKLOADS
from entropy_rl.bench.kernels import (
    Dtype,
    bench_token_statistics,
    present_device,
)
from entropy_rl.bench.observatory import bench_observatory
from entropy_rl.bench.selection import OBJECTIVES, bench_selection, modelled_cost
from entropy_rl.bench.step import WORKLOADS, bench_step
from entropy_rl.bench.tables import kernel_table, selection_cost_table, selection_table, tpu_table
from entropy_rl.bench.tpu_statistics import tpu_statistics_rows
from entropy_rl.kernel_choice import KernelConfig, fill
from entropy_rl.models.config import QWEN2_5
from pallas_kernels.chips import TPU_CHIPS
from pallas_kernels.covariance_selection import CovarianceSelector
from pallas_kernels.token_statistics import Implementation, Mosaic, Triton, XLATiles


@dataclass(frozen=True, kw_only=True)
class Step:
    """Time rollout, old log-probs, update and whole step after warm-up; prints a JSON object."""

    workload: Literal["tiny", "vocab"]
    """tiny: 4 layers of 128, vocabulary 64, 32 x 8 x (16 + 32) tokens. vocab: 2 layers of 256, vocabulary
    151,936, 8 x 4 x (32 + 64) tokens."""
    repeats: int = 7
    """Steps timed, after two that are not."""

    def run(self) -> None:
        print(json.dumps(bench_step(WORKLOADS[self.workload], repeats=self.repeats), indent=2))


@dataclass(frozen=True, kw_only=True)
class ObservatoryBench:
    """Time steps with everything recorded beside the same steps with nothing; prints a JSON object."""

    workload: Literal["tiny", "vocab"]
    """As of `bench step`."""
    repeats: int = 5
    """Tens of steps timed, after one that is not; one step of ten records the theory and chosen rollouts."""

    def run(self) -> None:
        print(json.dumps(bench_observatory(self.workload, repeats=self.repeats), indent=2))


@dataclass(frozen=True, kw_only=True)
class KernelBench:
    """Time the kernels on the present device against plain XLA and the device's own ceiling.

    Token statistics (log-probs, entropies, gradients) at the heads of Qwen2.5, then the selection of
    covariance tokens.
    """

    shapes: tuple[Literal["0.5B", "1.5B", "7B", "32B"], ...] = ("0.5B", "1.5B", "7B", "32B")
    """Sizes of Qwen2.5 whose heads are taken."""
    num_tokens: int | None = None
    """Tokens of a call; None for 8,192, or 256 on a CPU."""
    dtype: Dtype | None = None
    """Dtype of the operands; None for bfloat16, or float32 on a CPU."""
    selection_log2_tokens: tuple[int, ...] = tuple(range(16, 26))
    """Powers of two of the numbers of tokens among which is selected."""
    repeats: int = 5
    """Calls timed, after one that is not."""
    as_json: bool = False
    """Print JSON instead of Markdown."""
    output: Path | None = None
    """File that receives the JSON, whatever is printed."""

    def run(self) -> None:
        device, on_cpu = jax.devices()[0], jax.default_backend() == "cpu"
        dtype: Dtype = self.dtype or ("float32" if on_cpu else "bfloat16")
        rows = []
        for shape in self.shapes:
            suited = fill(KernelConfig(), device, QWEN2_5[shape], dtype)
            rows += bench_token_statistics(
                shape,
                _candidates(suited, device.platform),
                num_tokens=self.num_tokens or (256 if on_cpu else 8_192),
                dtype=dtype,
                repeats=self.repeats,
            )
        selector = CovarianceSelector(histogram=suited.histogram)  # whatever the shape
        sizes = tuple(1 << power for power in self.selection_log2_tokens)
        selection = bench_selection(sizes, selector=selector, repeats=self.repeats)
        numbers = {"token_statistics": [asdict(row) for row in rows], "selection": selection}
        tables = f"{kernel_table(rows)}\n\n{selection_table(selection)}"
        _give(tables, present_device() | numbers, as_json=self.as_json, output=self.output)


@dataclass(frozen=True, kw_only=True)
class TPUBench:
    """Compile the kernels for TPUs that need not be there: memory by the compiler, time by a model.

    Needs the TPU compiler that belongs to the installed jax: pip install "jax[tpu]".
    """

    chips: tuple[Literal["v4", "v5e", "v5p", "v6e"], ...] = tuple(TPU_CHIPS)
    """Chips to compile for."""
    naive: bool = False
    """Compile all logits at once as well, for comparison."""
    as_json: bool = False
    """Print JSON instead of Markdown."""
    output: Path | None = None
    """File that receives the JSON, whatever is printed."""

    def run(self) -> None:
        rows = tpu_statistics_rows(chips=self.chips, with_naive=self.naive)
        selection = [modelled_cost(chip, objective) for chip in self.chips for objective in OBJECTIVES]
        numbers = {"token_statistics": [asdict(row) for row in rows], "selection": selection}
        tables = f"{tpu_table(rows)}\n\n{selection_cost_table(selection)}"
        _give(tables, numbers, as_json=self.as_json, output=self.output)


@dataclass(frozen=True, kw_only=True)
class DeviceBench:
    """How near updates and decoding come to what the first device can do, itself measured in the same run.

    Random weights, bfloat16 compute. A row is written as soon as it is measured, so that a run cut short
    leaves the rows before.
    """

    workload: Literal["qwen2.5", "smoke"] = "qwen2.5"
    """qwen2.5: 0.5B, 1.5B and 7B, for one GPU of 141 GB. smoke: tiny shapes, for any machine."""
    repeats: int = 5
    """Measurements of each row, after one that is not counted."""
    budget_seconds: float = 500.0
    """No row is begun that might end later than so long after the start."""
    output: Path | None = None
    """File that receives the JSON, written anew after each row; the Markdown is printed."""

    def run(self) -> None:
        started = time.perf_counter()
        workload, rows = DEVICE_WORKLOADS[self.workload], []
        roofline = measure_roofline(workload, self.repeats)
        print(f"{roofline_line(roofline)}\n\n{DEVICE_HEADER}", flush=True)
        for row in bench_device(
            workload, roofline, repeats=self.repeats, budget_seconds=self.budget_seconds, started=started
        ):
            rows.append(row)
            print(device_line(row), flush=True)
            if self.output is not None:
                numbers = device_numbers(present_device(), roofline, rows)
                self.output.write_text(json.dumps(numbers, indent=2) + "\n")


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Measure a training step, recording, the kernels or the present device's limits; compile for TPUs."""

    what: tyro.conf.OmitArgPrefixes[
        Annotated[Step, tyro.conf.subcommand("step", prefix_name=False)]
        | Annotated[ObservatoryBench, tyro.conf.subcommand("observatory", prefix_name=False)]
        | Annotated[KernelBench, tyro.conf.subcommand("kernels", prefix_name=False)]
        | Annotated[TPUBench, tyro.conf.subcommand("tpu", prefix_name=False)]
        | Annotated[DeviceBench, tyro.conf.subcommand("device", prefix_name=False)]
    ]

    def run(self) -> None:
        self.what.run()


def _give(tables: str, numbers: dict, *, as_json: bool, output: Path | None) -> None:
    """Prints the one or the other form, and writes JSON where it is asked for."""
    text = json.dumps(numbers, indent=2)
    print(text if as_json else tables)
    if output is not None:
        output.write_text(text + "\n")


def _candidates(suited: KernelConfig, platform: str) -> dict[str, Implementation]:
    """What is compared with all logits at once: what the device would get, and its alternatives."""
    candidates: dict[str, Implementation] = {"XLA tiles": XLATiles()}
    if isinstance(suited.statistics, Mosaic):
        candidates["Mosaic"] = suited.statistics
    if platform in ("gpu", "cuda"):
        candidates["Triton"] = Triton()
    return candidates

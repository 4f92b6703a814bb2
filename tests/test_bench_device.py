"""bench device: what it counts, that it stops in time, and that it writes as it goes."""

import io
import json
import time
from contextlib import redirect_stdout
from dataclasses import replace

import jax
import pytest

from entropy_rl.bench import device
from entropy_rl.bench.device_workloads import WORKLOADS, DecodeLoad, UpdateLoad
from entropy_rl.cli import main
from entropy_rl.models.config import Qwen2Config

CONFIG = Qwen2Config(
    vocab_size=23, num_layers=2, hidden_size=5, intermediate_size=7, num_heads=3, num_kv_heads=1, head_dim=2
)
ROOFLINE = device.Roofline(flops_per_second=1e9, bytes_per_second=1e9)


@pytest.mark.slow
def test_every_row_of_the_smoke_workload_is_printed_and_written(tmp_path):
    output = tmp_path / "device.json"
    with redirect_stdout(io.StringIO()) as out:
        main(["bench", "device", "--workload", "smoke", "--repeats", "2", "--output", str(output)])
    report = json.loads(output.read_text())
    assert [row["what"] for row in report["rows"]] == ["update", "decode", "update"]
    assert [row["setting"].split(",")[0] for row in report["rows"][::2]] == ["padded", "packed"]
    for row in report["rows"]:
        low, high = row["seconds_range"]
        assert 0 < low <= row["seconds"] <= high and row["fraction"] > 0
    assert report["roofline"]["flops_per_second"] > 0 and report["roofline"]["bytes_per_second"] > 0
    table = out.getvalue().strip().split("\n\n")[1].splitlines()
    assert [line.count("|") for line in table] == [10] * 5


def test_no_row_is_begun_that_might_end_after_the_budget(monkeypatch):
    row = device._row("decode", "tiny", CONFIG, 2, "", [1.0], 1.0, ROOFLINE)

    def slow(*_, **__):
        time.sleep(0.2)
        return row

    monkeypatch.setattr(device, "_with_fewer_layers", slow)
    workload = replace(WORKLOADS["smoke"], decodes=WORKLOADS["smoke"].decodes * 9)
    rows = device.bench_device(workload, ROOFLINE, repeats=1, budget_seconds=0.5, started=time.perf_counter())
    assert 1 <= len(list(rows)) <= 2


def test_what_does_not_fit_is_measured_with_half_the_layers():
    tried = []

    def job(shape, config, roofline, repeats):
        tried.append(config.num_layers)
        if config.num_layers > 5:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
        return device._row("update", shape, config, 2, "", [1.0], 1.0, roofline)

    row = device._with_fewer_layers(job, "tiny", replace(CONFIG, num_layers=20), ROOFLINE, 1)
    assert tried == [20, 10, 5] and "| 5 of 20 |" in device.device_line(row)


def test_the_work_of_an_update_is_that_of_a_count_token_by_token():
    load = UpdateLoad(num_prompts=3, num_samples=2, num_prompt_tokens=4, num_new_tokens=5)
    kernels = 2 * (5 * 3 * 2 + 2 * 5 * 1 * 2 + 3 * 2 * 5 + 3 * 5 * 7)  # layers x (q, k and v, output, MLP)
    flops = 0
    for _ in range(3):
        for position in range(4):  # the prompt, once
            flops += 6 * kernels + 2 * 12 * 3 * 2 * (position + 1)
        for _ in range(2):
            for position in range(4, 8):  # the last response token is not run
                flops += 6 * kernels + 2 * 12 * 3 * 2 * (position + 1)
            flops += 5 * 6 * 23 * 5  # the head
    assert device.model_flops(CONFIG, load) == pytest.approx(flops)


@pytest.mark.parametrize("tied", [False, True])
def test_the_bytes_of_a_token_step_are_weights_prompts_once_and_what_was_generated(tied):
    load = DecodeLoad(num_prompts=3, num_samples=2, num_prompt_tokens=4, num_new_tokens=9, num_timed=3)
    config = replace(CONFIG, tie_embeddings=tied)
    norms_and_biases = 2 * (2 * 5 + 3 * 2 + 2 * 1 * 2) + 5
    weights = 2 * (5 * 3 * 2 + 2 * 5 * 1 * 2 + 3 * 2 * 5 + 3 * 5 * 7) + 23 * 5 + norms_and_biases
    reached = (6 + 7 + 8) / 3
    numbers = weights + 2 * 2 * 1 * 2 * (3 * 4 + 6 * reached)
    assert device.bytes_of_step(config, load) == pytest.approx(2 * numbers)

"""Runs whose law is known, made up for tests: entropy that falls, success that follows it with noise."""

import json
from pathlib import Path

import numpy as np

from entropy_rl.observability.run_record import METRICS_FILE
from entropy_rl.observatory.law import Course

A, B = 0.3, 0.9


def noise(num_points: int, persistence: float, deviation: float, seed: int) -> np.ndarray:
    """An autoregression of order one, long begun, of the standard deviation `deviation`."""
    random, burn_in = np.random.default_rng(seed), 100
    shocks = random.standard_normal(burn_in + num_points) * deviation * np.sqrt(1 - persistence**2)
    values = np.zeros(burn_in + num_points)
    for point in range(1, len(values)):
        values[point] = persistence * values[point - 1] + shocks[point]
    return values[burn_in:]


def course(
    num_points: int, *, persistence: float = 0.0, deviation: float = 0.02, seed: int = 0, a: float = A
) -> Course:
    """A run that obeys R = -a exp(H) + B but for noise."""
    steps = np.arange(1, num_points + 1)
    entropy = 0.15 + 0.5 * np.exp(-4 * steps / num_points)
    entropy += 0.01 * np.random.default_rng(seed + 10**6).standard_normal(num_points)
    success = B - a * np.exp(entropy) + noise(num_points, persistence, deviation, seed)
    return Course(steps=steps, entropy=entropy, success=success, measure="reward/mean", filtered=False)


def write_rows(folder: Path, rows: list[dict]) -> Path:
    """The folder of a run with these rows of metrics.jsonl."""
    folder.mkdir(parents=True)
    (folder / METRICS_FILE).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def write_run(folder: Path, drawn: Course, **more: float) -> Path:
    """The folder of a run that recorded this course, and `more` at every step."""
    return write_rows(
        folder,
        [
            {"step": int(step), "policy/entropy": float(entropy), drawn.measure: float(success)} | more
            for step, entropy, success in zip(drawn.steps, drawn.entropy, drawn.success, strict=True)
        ],
    )

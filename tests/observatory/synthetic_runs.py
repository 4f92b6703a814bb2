"""The folder of a healthy run, written and not trained; and changes that make it ill."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from entropy_rl.config import BatchConfig, PolicyConfig, RunConfig
from entropy_rl.data.tasks import CountdownTask
from entropy_rl.dynamic_sampling import DynamicSampling
from entropy_rl.models.config import Qwen2Config
from entropy_rl.objectives import KLCov, Regularizer
from entropy_rl.observability.json_files import json_value
from entropy_rl.observability.metric_names import METRICS
from entropy_rl.observability.run_record import CONFIG_FILE, METRICS_FILE, RunRecord
from entropy_rl.observatory.checks.rewards import zero_variance_share
from entropy_rl.observatory.probes import Probes
from entropy_rl.sampler import Sampling
from entropy_rl.training.layout import Padded
from entropy_rl.training.warm_start import WarmStart

STEPS, PROMPTS, SAMPLES = 60, 31, 7

CONFIG = RunConfig(
    name="healthy",
    policy=PolicyConfig(
        architecture=Qwen2Config(
            vocab_size=151_936,
            num_layers=2,
            hidden_size=14,
            intermediate_size=22,
            num_heads=4,
            num_kv_heads=2,
            head_dim=6,
            rope_theta=1e4,
            tie_embeddings=True,
        ),
        compute_dtype="float32",
    ),
    task=CountdownTask(),
    objective=KLCov(fraction=2e-3),
    batch=BatchConfig(
        prompts_per_step=PROMPTS, samples_per_prompt=SAMPLES, prompts_per_update=PROMPTS, layout=Padded()
    ),
    sampling=Sampling(temperature=0.9, min_new_tokens=2),
    regularizer=Regularizer(kl_coef=0.05, entropy_coef=1e-3),
    dynamic_sampling=DynamicSampling(),
    warm_start=WarmStart(num_steps=300, batch_size=13, num_demonstrations=2000),
    evaluation=None,
    num_steps=STEPS,
)
"""Everything that a check looks at is switched on."""

PROBES = Probes(
    base_entropy_nats=1.8,
    base_max_probability=0.55,
    base_gap=2.1,
    start_entropy_nats=0.9,
    start_max_probability=0.7,
    start_gap=2.9,
    policy_entropy_nats=0.7,
    policy_max_probability=0.76,
    policy_gap=3.4,
    repetition_penalty=1.05,
    entropy_without_penalty_nats=0.7,
    entropy_with_penalty_nats=0.68,
    entropy_bonus_change_nats=3e-4,
    temperature=0.9,
    temperature_effect=-0.03,
    demonstration_overlap_fraction=0.1,
    demonstration_length_quantiles_tokens=(4.0, 17.0, 19.5),
    demonstration_loss_nats=0.95,
)


Around = Callable[[Any, float], np.ndarray]
"""A course of values with noise of a size."""


def healthy_rows(seed: int = 0) -> list[dict[str, float | int]]:
    """Every metric of a run on a chip of the kind that this product records, of plausible size and noise."""
    rng = np.random.default_rng(seed)
    course = np.linspace(0, 1, STEPS)

    def around(value, noise: float) -> np.ndarray:
        return np.broadcast_to(value, STEPS) + noise * rng.standard_normal(STEPS)

    series = (
        _of_rollouts(course, around)
        | _of_updates(course, around)
        | _of_the_theory(around)
        | _of_the_sampler(course, around)
    )
    rows = [
        {"step": step + 1} | {name: np.asarray(values)[step].item() for name, values in series.items()}
        for step in range(STEPS)
    ]
    for row in rows:  # the theory is measured every ten steps
        if row["step"] != 1 and row["step"] % 10:
            for name in [name for name in row if name.startswith("theory/")]:
                del row[name]
    assert set(rows[0]) <= set(METRICS)
    return rows


def _of_rollouts(course: np.ndarray, around: Around) -> dict[str, Any]:
    rate = 0.3 + 0.25 * course
    entropies, measured_rate = around(0.9 - 0.2 * course, 0.01), around(rate, 0.02)
    alike = [zero_variance_share(p, 0.15, SAMPLES) for p in rate]
    by_chance = [zero_variance_share(p, 0.0, SAMPLES) for p in rate]
    return {
        "policy/entropy": entropies,
        "policy/entropy_sequence_mean": entropies * 1.01,
        "policy/surprisal": entropies + around(0, 0.01),
        "policy/surprisal_error": around(0.01, 5e-4),
        "reward/mean": measured_rate,
        "reward/score": measured_rate,
        "reward/pass_rate": measured_rate,
        "reward/std": np.sqrt(measured_rate * (1 - measured_rate)),
        "reward/distinct_values": np.full(STEPS, 2),
        "reward/timeouts": np.zeros(STEPS, int),
        "reward/judge_errors": np.zeros(STEPS, int),
        "reward/groups_zero_variance": around(alike, 0.03),
        "reward/groups_zero_variance_expected": by_chance,
        "group/duplicate_fraction": around(0.06, 0.01),
        "group/near_duplicate_fraction": around(0.12, 0.01),
        "advantage/std": around(0.85, 0.02),
        "advantage/nonzero_fraction": around(0.8, 0.03),
        "advantage/max_abs": around(2.2, 0.05),
        "length/mean": around(18, 0.4),
        "length/max": np.full(STEPS, 40),
        "length/min": np.full(STEPS, 4),
        "length/truncated_fraction": around(0.01, 2e-3),
    }


def _of_updates(course: np.ndarray, around: Around) -> dict[str, Any]:
    return {
        "policy/approx_kl": around(5e-5, 1e-5),
        "policy/approx_kl_k3": around(1e-4, 1e-5),
        "policy/reference_kl": 0.02 + 0.06 * course,
        "policy/absolute_log_ratio": around(0.01, 1e-3),
        "policy/ratio_max": around(1.4, 0.05),
        "covariance/mean": around(0.02, 5e-3),
        "selection/selected": np.full(STEPS, 7),
        "selection/quota": np.full(STEPS, 7),
        "selection/nonfinite_tokens": np.zeros(STEPS, int),
        "optimizer/updates": np.full(STEPS, 1),
        "optimizer/loss": around(0, 1e-3),
        "optimizer/grad_norm": around(0.6, 0.05),
        "optimizer/learning_rate": np.full(STEPS, 1e-6),
        "optimizer/skipped_updates": np.zeros(STEPS, int),
        "optimizer/skipped_in_a_row": np.zeros(STEPS, int),
    }


def _of_the_theory(around: Around) -> dict[str, Any]:
    entropy_change = around(-0.004, 0.003)
    return {
        "theory/tokens": np.full(STEPS, 130),
        "theory/entropy_before": around(0.8, 0.05),
        "theory/entropy_change": entropy_change,
        "theory/lemma1": 0.95 * entropy_change + around(0, 5e-4),
        "theory/theorem1_covariance": around(0.01, 2e-3),
        "theory/theorem2_covariance": around(0.05, 1e-2),
    }


def _of_the_sampler(course: np.ndarray, around: Around) -> dict[str, Any]:
    return {
        "logits/max_probability": around(0.7 + 0.05 * course, 5e-3),
        "logits/gap": around(2.9 + 0.4 * course, 0.05),
        "sampler/stop_suppressed_fraction": around(0.02, 2e-3),
        "sampler/stop_suppressed_mass": around(0.004, 5e-4),
        "mismatch/logp_gap_max": around(4e-6, 5e-7),
        "mismatch/logp_gap_mean": around(3e-7, 5e-8),
        "generation/batches": np.full(STEPS, 2),
        "staleness/mean": np.where(np.arange(STEPS) % 2, 0.4, 0.0),
        "staleness/max": np.arange(STEPS) % 2,
        "staleness/group_fraction": np.where(np.arange(STEPS) % 2, 0.4, 0.0),
        "staleness/logp_gap_mean": around(0.02, 2e-3),
    }


Change = Callable[[float, float], float]
"""(The healthy value, how far the run is: 0 to 1) -> the ill one."""


@dataclass(frozen=True, kw_only=True)
class Illness:
    """What makes a healthy run ill, and which check must find it."""

    check: str
    outcome: str
    metrics: Mapping[str, Change] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the configuration by their dotted names."""
    probes: Mapping[str, Any] = field(default_factory=dict)
    also: frozenset[str] = frozenset()
    """Other checks that this illness rightly troubles."""

    def __str__(self) -> str:
        causes = [*self.metrics, *self.settings, *self.probes]
        return f"{self.check}: {self.outcome}: {', '.join(causes)}".replace(" ", "_")

    def plant(self) -> tuple[RunRecord, Probes]:
        """The ill run, and its probes."""
        rows = healthy_rows()
        for row in rows:
            for name, change in self.metrics.items():
                if name in row:
                    row[name] = change(row[name], (row["step"] - 1) / (STEPS - 1))
        config = json_value(CONFIG)
        for dotted, value in self.settings.items():
            *parents, last = dotted.split(".")
            inner = config
            for parent in parents:
                inner = inner[parent]
            assert last in inner, dotted
            inner[last] = value
        return record(rows, config), replace(PROBES, **self.probes)


def record(rows: list[dict], config: object = CONFIG) -> RunRecord:
    """A run of these rows, as it is read from its folder."""
    return RunRecord(path=Path("runs/ill"), name="ill", config=json_value(config), rows=tuple(rows))


def write_run(folder: Path, rows: list[dict], config: object = CONFIG) -> Path:
    """A run's folder with these rows."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_FILE).write_text(json.dumps(json_value(config)))
    (folder / METRICS_FILE).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder

"""Made-up runs for tests of the report and of the view: every metric, rollouts of any text."""

import json
import math
from pathlib import Path

import numpy as np

from entropy_rl.observability.metric_names import METRICS
from entropy_rl.observability.rollout_records import RolloutRecord, write_rollouts
from entropy_rl.observability.run_record import CONFIG_FILE, METRICS_FILE

CONFIG = {
    "kind": "RunConfig",
    "name": "made_up",
    "num_steps": 40,
    "objective": {"kind": "KLCov", "fraction": 0.05, "penalty_coef": 4.0},
    "batch": {"kind": "BatchConfig", "prompts_per_step": 8, "samples_per_prompt": 4, "prompts_per_update": 4},
    "seed": 0,
}

HOSTILE = (
    "</script><script>window.hacked = 1</script>",
    "</SCRIPT\n><img src=x onerror='window.hacked = 1'>",
    "<!--<script>",
    "]]>--!>",
    "\"onmouseover=window.hacked=1 x='",
    "{{ 7 * 7 }}{% raw %}",
    "${window.hacked = 1}",
    "\u2028\u2029",
    "\x00\x1b[31m",
    "\ud800",
    "\u202egnp.exe",
    "&lt;b&gt;&amp;",
    "javascript:window.hacked=1 and so on until it is longer than a short prompt may be",
)
"""Responses that try to be more than text."""


def collapsing_rows(num_steps: int, seed: int = 0) -> list[dict]:
    """Rows with every metric of the legend; entropy falls from 1 and the reward rises as the law says."""
    rng = np.random.default_rng(seed)
    rows = []
    for step in range(1, num_steps + 1):
        entropy = math.exp(-3 * step / num_steps)
        row = {"step": step} | {
            name: _made_up(name, entropy, rng) for name in METRICS if name != "step" and "NAME" not in name
        }
        row = {name.replace("@k", "@8"): value for name, value in row.items()}
        reward = 0.8 - 0.25 * math.exp(entropy) + 0.01 * rng.standard_normal()
        row |= {"policy/entropy": entropy, "reward/mean": reward, "seconds/step": 1.25}
        late = {name for name in row if name.startswith(("heldout/", "theory/"))}
        rows.append(
            row if step % 5 == 0 else {name: value for name, value in row.items() if name not in late}
        )
    return rows


def _made_up(name: str, entropy: float, rng: np.random.Generator) -> float:
    unit, noise = METRICS[name].unit, rng.uniform(0.9, 1.1)
    if name.startswith("entropy/"):
        tail = {
            "min": 0.0,
            "q10": 0.1,
            "q25": 0.3,
            "q50": 0.6,
            "q75": 1.5,
            "q90": 2.5,
            "q99": 4.0,
            "max": 5.0,
        }
        return entropy * tail.get(name.removeprefix("entropy/"), noise)
    return {"fraction": 0.5 * noise, "tokens": 12 * noise, "count": 3.0}.get(unit, entropy * noise)


def write_run(folder: Path, rows: list[dict], config: dict | None = CONFIG) -> Path:
    """A run's folder of these rows."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / METRICS_FILE).write_text("".join(json.dumps(row) + "\n" for row in rows))
    if config is not None:
        (folder / CONFIG_FILE).write_text(json.dumps(config))
    return folder


def rollout(step: int, tokens: list[str], *, prompt: str = "3,4=7:", **changes) -> RolloutRecord:
    """A response of these tokens; the first one is uncertain and of large covariance, the second selected."""
    count = len(tokens)
    values = dict(
        step=step,
        prompt_id=17,
        sample=0,
        prompt=prompt,
        response="".join(tokens),
        reward=1.0,
        correct=True,
        advantage=0.5,
        truncated=False,
        stale=False,
        update=0,
        tokens=tokens,
        token_ids=list(range(count)),
        entropy=[2.0 / (n + 1) / step for n in range(count)],
        logp=[-1.0 / (n + 1) for n in range(count)],
        covariance=[(-1) ** n * 1.5 / (n + 1) for n in range(count)],
        selected=[n == 1 for n in range(count)],
    )
    return RolloutRecord(**(values | changes))


def write_recorded_run(folder: Path, num_steps: int = 40, every: int = 10) -> Path:
    """A run with every metric whose rollouts are recorded every few steps, two responses each."""
    write_run(folder, collapsing_rows(num_steps))
    for step in range(every, num_steps + 1, every):
        write_rollouts(
            folder,
            step,
            [
                rollout(step, ["3", "+", "4", "<stop>"]),
                rollout(
                    step, ["3", "-", "4", "\n", "!"], correct=False, reward=0.0, sample=1, advantage=-0.5
                ),
            ],
        )
    return folder

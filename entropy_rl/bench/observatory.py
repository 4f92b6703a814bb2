"""What recording costs: steps with everything recorded beside the same steps with nothing, in one process.

Two runs of the same settings and seed take their steps in turn, so that both see the same machine. The steps
are equal but for what is recorded, since no training depends on it. One in ten records the theory and chosen
rollouts: whole tens are compared. What is always recorded, distributions over the tokens, has no switch: its
programs are timed by themselves, on arrays of the same shapes. Beside the seconds of the clock those of all
processor cores are compared: on a CPU that others use too, these say more.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import numpy as np

from entropy_rl.bench.step import NUM_WARMUP_STEPS, WORKLOADS, Workload
from entropy_rl.config import BatchConfig, PolicyConfig, RunConfig
from entropy_rl.data.graders import Grader
from entropy_rl.data.tasks import CountdownTask
from entropy_rl.evaluation.duplicates import near_duplicates
from entropy_rl.objectives import KLCov
from entropy_rl.objectives.selection import COVARIANCE_QUANTILES, DESCRIPTION
from entropy_rl.observability.rollout_records import write_rollouts
from entropy_rl.recording import Recording
from entropy_rl.sampler import Sampling
from entropy_rl.training.layout import Padded
from entropy_rl.training.optimizer import AdamW
from entropy_rl.training.update_metrics import token_metrics
from entropy_rl.workbench import RunState, Workbench, take_step

NOTHING = Recording(rollouts_every_steps=0, theory_every_steps=0)
PERIOD = Recording().theory_every_steps
"""Steps of which one records what is recorded now and then."""


@dataclass(frozen=True, kw_only=True)
class _Task(CountdownTask):
    """Countdown with the lengths of a workload."""

    num_prompt_tokens: int
    num_new_tokens: int

    @property
    def max_prompt_tokens(self) -> int:
        return self.num_prompt_tokens

    @property
    def max_response_tokens(self) -> int:
        return self.num_new_tokens


class _Side:
    """A run that goes on step by step."""

    def __init__(self, config: RunConfig, grader: Grader, folder: Path, *, watches_logits: bool):
        bench = Workbench.of(config)
        self.bench = replace(bench, sampler=replace(bench.sampler, watches_logits=watches_logits))
        self.state = RunState(learned=bench.learner.init(bench.start.params), surplus=bench.empty_surplus())
        self._grader, self._folder = grader, folder

    def take(self, step: int) -> np.ndarray:
        """(Seconds by the clock, seconds of processor cores) of one more step."""
        start = _now()
        self.state, _, records = take_step(self.bench, self._grader, self.state, step)
        if records:
            write_rollouts(self._folder, step, records)
        return _now() - start


def bench_observatory(name: str, *, repeats: int) -> dict:
    """Seconds and ratios over `repeats` tens of steps of a workload of `bench step`, after two not timed.

    `recorded_over_bare` is the ratio of the seconds of each ten, `always_s` the seconds of what every step
    records, and `overhead_fraction` all of it, as a part of a bare step, by the clock and by processor time.
    """
    workload = WORKLOADS[name]
    config = _config(workload)
    with tempfile.TemporaryDirectory() as folder, config.task.open_grader() as grader:
        sides = (
            _Side(config, grader, Path(folder), watches_logits=True),
            _Side(replace(config, recording=NOTHING), grader, Path(folder), watches_logits=False),
        )
        for step in range(1, 1 + NUM_WARMUP_STEPS):  # the first one records the theory too
            _in_turn(sides, step)
        numbers = range(PERIOD + 1, (repeats + 1) * PERIOD + 1)
        seconds_ESC = np.array([_in_turn(sides, step) for step in numbers])
        _check_equal(*(side.state for side in sides))
        always = _always_seconds(sides[1].bench, workload)
    of_tens = seconds_ESC.reshape(repeats, PERIOD, 2, 2).sum(axis=1)
    ratio_RC, bare_C = of_tens[:, 0] / of_tens[:, 1], np.median(seconds_ESC[:, 1], axis=0)
    overhead_C = np.median(ratio_RC, axis=0) - 1 + sum(always.values()) / bare_C
    report = {"backend": jax.default_backend(), "jax": jax.__version__, "tens_of_steps": repeats}
    for number, kind in enumerate(("clock", "processor")):
        bare_E, ratio_R = seconds_ESC[:, 1, number], ratio_RC[:, number]
        report[kind] = {
            "bare_step_s": round(float(bare_C[number]), 4),
            "bare_step_range_s": [round(float(x), 4) for x in (bare_E.min(), bare_E.max())],
            "recorded_over_bare": round(float(np.median(ratio_R)), 4),
            "recorded_over_bare_range": [round(float(x), 4) for x in (ratio_R.min(), ratio_R.max())],
            "always_s": {what: round(float(x[number]), 5) for what, x in always.items()},
            "overhead_fraction": round(float(overhead_C[number]), 4),
        }
    return report


def _in_turn(sides: tuple[_Side, _Side], step: int) -> list[np.ndarray]:
    """What a step takes on either side; neither always goes first."""
    if step % 2:
        return [side.take(step) for side in sides]
    return [side.take(step) for side in reversed(sides)][::-1]


def _now() -> np.ndarray:
    return np.array([time.perf_counter(), time.process_time()])


def _config(workload: Workload) -> RunConfig:
    """A run of a workload: KL-Cov, f32, one update, as `bench step` takes it."""
    return RunConfig(
        name="bench-observatory",
        policy=PolicyConfig(architecture=workload.architecture, compute_dtype="float32"),
        task=_Task(
            num_prompt_tokens=workload.num_prompt_tokens,
            num_new_tokens=workload.num_new_tokens,
            num_train_prompts=20 * workload.num_prompts,
        ),
        objective=KLCov(),
        optimizer=AdamW(learning_rate=1e-4),
        batch=BatchConfig(
            prompts_per_step=workload.num_prompts,
            samples_per_prompt=workload.num_samples,
            prompts_per_update=workload.num_prompts,
            layout=Padded(),
        ),
        sampling=Sampling(min_new_tokens=workload.num_new_tokens),  # every response has its full length
        evaluation=None,
    )


def _check_equal(recorded: RunState, bare: RunState) -> None:
    """What recording must never change."""
    pairs = zip(*(jax.tree.leaves(state.learned.params) for state in (recorded, bare)), strict=True)
    assert all(bool((a == b).all()) for a, b in pairs), "recording has changed the parameters"


def _always_seconds(bench: Workbench, workload: Workload) -> dict[str, np.ndarray]:
    """Medians of what describes the tokens and groups of a step, and what the top shares add to theirs."""
    shape = (workload.num_prompts, workload.num_samples, workload.num_new_tokens)
    rng = np.random.default_rng(0)
    values_PGT = jax.numpy.asarray(rng.exponential(size=shape), jax.numpy.float32)
    mask_PGT = jax.numpy.ones(shape, bool)
    values_BT, mask_BT = (x.reshape(-1, shape[-1]) for x in (values_PGT, mask_PGT))
    selector = bench.learner.selector
    describe = jax.jit(selector.distribution, static_argnames=("quantiles", "top_shares"))
    quantiles = tuple(COVARIANCE_QUANTILES.values())
    with_tops = _median_seconds(lambda: describe(values_BT, mask_BT, **DESCRIPTION))
    tops = with_tops - _median_seconds(lambda: describe(values_BT, mask_BT, quantiles=quantiles))
    tokens = _median_seconds(lambda: token_metrics(selector, (mask_PGT,), (-values_PGT,), (values_PGT,)))
    texts = np.array(
        [" ".join(map(str, ids)) for ids in rng.integers(0, 20_000, (len(values_BT), shape[-1]))]
    )
    near = _median_seconds(lambda: near_duplicates(texts.reshape(shape[:2]).tolist()))
    return {
        "entropy and surprisal of the tokens": tokens,
        "top shares of covariance": np.maximum(tops, 0),
        "near duplicates, a word a token": near,
    }


def _median_seconds(program: Callable, repeats: int = 11) -> np.ndarray:
    """As `_Side.take`."""
    seconds = []
    for _ in range(repeats + 1):
        start = _now()
        jax.device_get(program())
        seconds.append(_now() - start)
    return np.median(seconds[1:], axis=0)

"""A process of the job, alone or one of several. Its devices are those that XLA_FLAGS ask for.

python -m tests.processes.worker FOLDER NAME MESH [--tiny] [--dynamic] [--steps N] [--resume] [--record]
                              [--warm-start]

Further flags are those of `train`. With --tiny the job is that of launch/cpu_mesh.sh. With --dynamic it
samples until all groups have different rewards. With --warm-start it makes a warm start, in FOLDER/NAME, and
no run. With --record the main process leaves the tokens each update selected, and their covariances, as
NAME.npz.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np

from entropy_rl.dynamic_sampling import DynamicSampling
from entropy_rl.parallelism import EXIT_PREEMPTED, Preempted, Processes, is_main, joined
from entropy_rl.starting_policy import make_warm_start
from entropy_rl.train import train
from entropy_rl.training.batch import TokenBatch
from entropy_rl.training.learner import Learner
from entropy_rl.training.warm_start import WarmStart
from tests.processes.job import EVERY_AXIS, ONE_DEVICE, job, tiny_job

WARM_START = WarmStart(num_steps=3, batch_size=8, num_demonstrations=40)


def record_selections(selections: list[dict]) -> None:
    """From now on every update of a learner adds what it selected."""
    update = Learner.update

    def chosen(learner, batch, report, key):
        tokens = TokenBatch.of(batch, learner.aggregation)
        logp_BT = report.logp_PGT.reshape(tokens.mask_BT.shape)
        selection = tokens.select(learner.objective, learner.selector, logp_BT, key)
        return {
            "selected": report.selected_PGT.reshape(tokens.mask_BT.shape),
            "covariance": selection.covariance_BT,
        }

    def recording_update(learner, state, batch, key, **packing):
        state, report = update(learner, state, batch, key, **packing)
        everywhere = jax.sharding.NamedSharding(report.logp_PGT.sharding.mesh, jax.sharding.PartitionSpec())
        whole = jax.jit(chosen, static_argnums=0, out_shardings=everywhere)
        selections.append(jax.device_get(whole(learner, batch, report, key)))
        return state, report

    Learner.update = recording_update


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("name")
    parser.add_argument("mesh", choices=["one", "eight"])
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--dynamic", action="store_true")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--warm-start", action="store_true")
    parser.add_argument("--coordinator")
    parser.add_argument("--num-processes", type=int)
    parser.add_argument("--process-id", type=int)
    given = parser.parse_args()
    selections = []
    if given.record:
        record_selections(selections)
    mesh = {"one": ONE_DEVICE, "eight": EVERY_AXIS}[given.mesh]
    settings = (tiny_job if given.tiny else job)(given.folder, given.name, mesh)
    settings = replace(settings, num_steps=given.steps)
    if given.dynamic:
        settings = replace(settings, dynamic_sampling=DynamicSampling())
    processes = Processes(
        coordinator=given.coordinator, num_processes=given.num_processes, process_id=given.process_id
    )
    try:
        with joined(processes):
            if given.warm_start:
                make_warm_start(replace(settings, warm_start=WARM_START), given.folder / given.name)
            else:
                train(settings, resume=given.resume)
            main_process = is_main()
    except Preempted as stop:
        print(stop, file=sys.stderr)
        sys.exit(EXIT_PREEMPTED)
    if given.record and main_process:
        stacked = {name: np.stack([one[name] for one in selections]) for name in selections[0]}
        np.savez(given.folder / f"{given.name}.npz", **stacked)


if __name__ == "__main__":
    main()

"""Checkpoints: all that decides the rest of a run, so that a killed run goes on bit for bit.

Arrays (parameters and optimiser state) go through orbax; the rest is one JSON object. Random numbers need no
state of their own: every key is derived from (seed, step, ...), so the step counter is the random state. The
frozen reference of a KL term is the policy the run began with, and is read again from there.
"""

from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import jax
import orbax.checkpoint as ocp

from entropy_rl.training.learner import TrainState


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The part of a checkpoint that is not arrays."""

    step: int
    """Training steps made."""
    num_updates: int
    """Optimiser updates made, skipped ones not counted."""
    seed: int
    """With the step, the state of every random key."""
    data_position: dict
    """State of the prompt pipeline."""
    entropy_history: list[dict]
    """The {"step", "entropy"} entries so far."""


class Checkpoints:
    """The checkpoints of one run; saving goes on in the background while the run does."""

    def __init__(self, folder: Path, *, keep: int):
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=True)
        self._manager = ocp.CheckpointManager(Path(folder).resolve(), options=options)

    @property
    def latest_step(self) -> int | None:
        """Step of the newest finished checkpoint."""
        return self._manager.latest_step()

    def save(self, state: TrainState, progress: Progress) -> None:
        """Saves after `progress.step`; returns when the arrays are safe to change."""
        self._manager.save(
            progress.step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(asdict_of(state)), progress=ocp.args.JsonSave(asdict(progress))
            ),
        )

    def restore(self, like: TrainState) -> tuple[TrainState, Progress]:
        """The newest checkpoint, with the shapes, dtypes and shardings of `like`."""
        step = self.latest_step
        if step is None:
            raise ValueError(f"there is no checkpoint to resume from in {self._manager.directory}")
        target = jax.tree.map(ocp.utils.to_shape_dtype_struct, asdict_of(like))
        restored = self._manager.restore(
            step,
            args=ocp.args.Composite(state=ocp.args.StandardRestore(target), progress=ocp.args.JsonRestore()),
        )
        return TrainState(**restored.state), Progress(**restored.progress)

    def close(self) -> None:
        """Waits for the last save and frees its threads."""
        self._manager.wait_until_finished()
        self._manager.close()


def restore_params(folder: Path, step: int | None = None) -> dict:
    """Only the parameters of a checkpoint (None: the newest), as host arrays.

    Raises ValueError when there is no such checkpoint.
    """
    with closing(ocp.CheckpointManager(Path(folder).resolve())) as manager:
        steps = sorted(manager.all_steps())
        if not steps or step not in (None, *steps):
            raise ValueError(f"{folder} has checkpoints of steps {steps}; {step or 'any'} was asked for")
        args = ocp.args.Composite(state=ocp.args.StandardRestore())
        return manager.restore(steps[-1] if step is None else step, args=args).state["params"]


def asdict_of(state: TrainState) -> dict:
    """The state's fields as a plain dictionary of trees, which is what orbax stores."""
    return {name: getattr(state, name) for name in state.__dataclass_fields__}

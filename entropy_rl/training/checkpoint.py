"""Checkpoints: all that decides the rest of a run, so that a killed run goes on bit for bit.

Arrays (parameters and optimiser state) go through orbax; the rest is one JSON object. Random numbers need no
state of their own: every key is derived from (seed, step, ...), so the step counter is the random state. The
frozen reference of a KL term is the policy the run began with, and is read again from there.
"""

from dataclasses import asdict, dataclass

import jax
import orbax.checkpoint as ocp

from entropy_rl.paths import AnyPath, reach
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

    def __init__(self, folder: AnyPath, *, keep: int | None = None):
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=keep is not None)
        self._manager = ocp.CheckpointManager(reach(folder), options=options)

    @property
    def steps(self) -> list[int]:
        """Steps of the finished checkpoints, in order."""
        return sorted(self._manager.all_steps())

    @property
    def latest_step(self) -> int | None:
        """Step of the newest finished checkpoint."""
        return self._manager.latest_step()

    def save(self, state: TrainState, progress: Progress) -> None:
        """Saves after `progress.step`; returns when the arrays are safe to change."""
        rest = {"opt_state": state.opt_state, "num_skipped_in_a_row": state.num_skipped_in_a_row}
        self._manager.save(
            progress.step,
            args=ocp.args.Composite(
                params=ocp.args.StandardSave(state.params),
                rest=ocp.args.StandardSave(rest),
                progress=ocp.args.JsonSave(asdict(progress)),
            ),
        )

    def progress(self) -> Progress | None:
        """What the newest checkpoint says of itself; None when there is no checkpoint."""
        if self.latest_step is None:
            return None
        args = ocp.args.Composite(progress=ocp.args.JsonRestore())
        return Progress(**self._manager.restore(self.latest_step, args=args).progress)

    def restore(self, like: TrainState) -> TrainState:
        """The newest checkpoint with the shapes, dtypes and shardings of `like`, arrays or not."""
        rest = {"opt_state": like.opt_state, "num_skipped_in_a_row": like.num_skipped_in_a_row}
        restored = self._manager.restore(
            self.latest_step,
            args=ocp.args.Composite(
                params=ocp.args.StandardRestore(like.params), rest=ocp.args.StandardRestore(rest)
            ),
        )
        return TrainState(params=restored.params, **restored.rest)

    def restore_params(self, like, step: int | None = None):
        """Only the parameters of a checkpoint (None: the newest), on one device whatever saved them.

        Raises ValueError when there is no such checkpoint.
        """
        if not self.steps or step not in (None, *self.steps):
            raise ValueError(
                f"{self._manager.directory} has checkpoints of steps {self.steps}, asked for: {step or 'any'}"
            )
        here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        target = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), like)
        args = ocp.args.Composite(params=ocp.args.StandardRestore(target))
        return self._manager.restore(self.latest_step if step is None else step, args=args).params

    def close(self) -> None:
        """Waits for the last save and frees its threads."""
        self._manager.wait_until_finished()
        self._manager.close()

"""Checkpoints: all that decides the rest of a run, so that a killed run goes on bit for bit.

Arrays (parameters, optimiser state, groups that dynamic sampling has left over) go through orbax; the rest is
one JSON object. Random numbers need no
state of their own: every key is derived from (seed, step, ...), so the step counter is the random state. The
frozen reference of a KL term is the policy the run began with, and is read again from there.
"""

from dataclasses import asdict, dataclass, field

import jax
import numpy as np
import orbax.checkpoint as ocp

from entropy_rl.paths import AnyPath, reach
from entropy_rl.training.learner import TrainState
from entropy_rl.types import Rollout


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The part of a checkpoint that is not arrays."""

    step: int
    """Training steps made."""
    num_updates: int
    """Optimiser updates made, skipped ones not counted."""
    num_gen_batches: int
    """Generation batches sampled: one a step, but for dynamic sampling."""
    seed: int
    """With the step, the state of every random key."""
    data_position: dict
    """State of the prompt pipeline."""
    entropy_bonus: float | None = None
    """What the rule of the entropy bonus carries to the next step; None where it remembers nothing."""
    rows: list[dict] = field(default_factory=list)
    """Those of metrics.jsonl so far, for a machine without the run's folder; filled in as it is saved."""
    surplus: dict | None = None
    """What is known of the groups whose arrays are saved; filled in as it is saved."""
    unrecorded: dict[str, float | int] | None = None
    """Metrics of the last step, where the run was stopped in the evaluation after it, before writing them."""

    @property
    def last_recorded_step(self) -> int:
        """The last step whose metrics have been written."""
        return self.step if self.unrecorded is None else self.step - 1


class Checkpoints:
    """The checkpoints of one run; saving goes on in the background while the run does.

    All processes of a run call every method alike: each writes and reads the shards that it holds, in one
    folder that all of them see.
    """

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

    def save(self, state: TrainState, progress: Progress, surplus: Rollout | None = None) -> None:
        """Saves after `progress.step`; returns when the arrays are safe to change."""
        rest = {"opt_state": state.opt_state, "num_skipped_in_a_row": state.num_skipped_in_a_row}
        self._manager.save(
            progress.step,
            args=ocp.args.Composite(
                params=ocp.args.StandardSave(state.params),
                rest=ocp.args.StandardSave(rest),
                progress=ocp.args.JsonSave(asdict(progress)),
                **({} if surplus is None else {"surplus": ocp.args.StandardSave(vars(surplus))}),
            ),
        )

    def progress(self) -> Progress | None:
        """What the newest checkpoint says of itself; None when there is no checkpoint."""
        if self.latest_step is None:
            return None
        args = ocp.args.Composite(progress=ocp.args.JsonRestore())
        saved = self._manager.restore(self.latest_step, args=args).progress
        # Runs from before they were counted sampled one generation batch a step.
        return Progress(**{"num_gen_batches": saved["step"], **saved})

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

    def restore_surplus(self, like: Rollout) -> Rollout:
        """The arrays of the groups in the newest checkpoint, which must hold some, lying as `like` does."""
        arrays = vars(jax.tree.map(ocp.utils.to_shape_dtype_struct, like))
        args = ocp.args.Composite(surplus=ocp.args.StandardRestore(arrays))
        return Rollout(**self._manager.restore(self.latest_step, args=args).surplus)

    def restore_params(self, like, step: int | None = None):
        """Only the parameters of a checkpoint (None: the newest), with the shapes and dtypes of `like`.

        A leaf with a sharding goes straight to its devices, one without becomes a host array, whatever saved
        them. Raises ValueError when there is no such checkpoint.
        """
        if not self.steps or step not in (None, *self.steps):
            raise ValueError(
                f"{self._manager.directory} has checkpoints of steps {self.steps}, asked for: {step or 'any'}"
            )
        args = ocp.args.Composite(params=ocp.args.PyTreeRestore(like, restore_args=jax.tree.map(_how, like)))
        return self._manager.restore(self.latest_step if step is None else step, args=args).params

    def wait(self) -> None:
        """Returns when what was saved is complete."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits for the last save and frees its threads."""
        self.wait()
        self._manager.close()


def _how(leaf) -> ocp.RestoreArgs:
    """How orbax is to read a leaf."""
    if leaf.sharding is None:
        return ocp.RestoreArgs(restore_type=np.ndarray, dtype=leaf.dtype)
    return ocp.ArrayRestoreArgs(sharding=leaf.sharding, global_shape=leaf.shape, dtype=leaf.dtype)

"""A few responses of a step, with what was found of each of their tokens, on the host."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Bool, Float32, Int, Int32

from entropy_rl.training.step import SeenTokens


@dataclass(frozen=True, kw_only=True)
class SeenResponse:
    """One response; arrays by token have its length, the stop token included."""

    row: int
    """Of its group in the batch."""
    sample: int
    update: int
    prompt_id: int
    prompt_ids_S: Int32[np.ndarray, " s"]
    ids_T: Int32[np.ndarray, " t"]
    logp_T: Float32[np.ndarray, " t"]
    entropy_T: Float32[np.ndarray, " t"]
    covariance_T: Float32[np.ndarray, " t"]
    selected_T: Bool[np.ndarray, " t"]


def choose(
    num_selected_PG: Int[np.ndarray, "P G"],
    correct_PG: Bool[np.ndarray, "P G"],
    filled_P: Bool[np.ndarray, " P"],
    number: int,
) -> list[tuple[int, int]]:
    """(row, sample) of so many responses, or of all there are.

    The first half, rounded up, are those with the most selected tokens. Then follow a right and a wrong
    response of each group that has both, and at last the first response of each group, the second and so on;
    always in the order of the batch, so that nothing depends on chance or on devices.
    """
    rows, samples = np.nonzero(np.broadcast_to(filled_P[:, None], correct_PG.shape))
    by_selection = np.argsort(-num_selected_PG[rows, samples], kind="stable")[: (number + 1) // 2]
    chosen = [(int(rows[i]), int(samples[i])) for i in by_selection]
    mixed = np.nonzero(filled_P & correct_PG.any(axis=1) & ~correct_PG.all(axis=1))[0]
    pairs = [(int(row), int(np.argmax(correct_PG[row] == right))) for row in mixed for right in (True, False)]
    others = sorted(zip(rows.tolist(), samples.tolist(), strict=True), key=lambda at: at[1])
    return list(dict.fromkeys([*chosen, *pairs, *others]))[:number]


def chosen_responses(
    seen: Sequence[SeenTokens],
    correct_PG: Bool[np.ndarray, "P G"],
    filled_P: Bool[np.ndarray, " P"],
    number: int,
    mesh: Mesh,
) -> list[SeenResponse]:
    """The responses of `choose` among the mini-batches that were learned from.

    Of the arrays only their rows come to the host. All processes must call it, and all are given them.
    """
    everywhere = NamedSharding(mesh, PartitionSpec())
    num_selected_PG = np.concatenate(jax.device_get([_count(everywhere)(part) for part in seen]))
    num_rows, rows_per_update = len(num_selected_PG), len(num_selected_PG) // len(seen)
    chosen = choose(num_selected_PG, correct_PG[:num_rows], filled_P[:num_rows], number)
    row_R, sample_R = np.array(chosen, np.int32).reshape(-1, 2).T
    parts = jax.device_get(
        [_take(everywhere)(part, row_R % rows_per_update, sample_R) for part in seen] if chosen else []
    )
    return [
        _response(parts[row // rows_per_update], r, row, sample, row // rows_per_update)
        for r, (row, sample) in enumerate(chosen)
    ]


@cache
def _count(everywhere: NamedSharding):
    def count(seen: SeenTokens):
        selected_PGT = seen.selected_PGT & seen.rollout.response_mask_PGT
        return jnp.sum(selected_PGT, axis=2, dtype=jnp.int32)

    return jax.jit(count, out_shardings=everywhere)


@cache
def _take(everywhere: NamedSharding):
    """A program: of every array by prompts or responses, those of some rows and samples."""

    def take(seen: SeenTokens, row_R, sample_R):
        of_prompt = ("prompt_ids_PS", "prompt_mask_PS", "prompt_id_P")
        arrays = {name: getattr(seen.rollout, name) for name in of_prompt}
        rows = {name: x[row_R] for name, x in arrays.items()}
        by_token = {name: x for name, x in vars(seen).items() if name != "rollout"}
        by_token["ids_PGT"] = seen.rollout.response_ids_PGT
        by_token["mask_PGT"] = seen.rollout.response_mask_PGT
        return rows | {name: x[row_R, sample_R] for name, x in by_token.items()}

    return jax.jit(take, out_shardings=everywhere)


def _response(part: dict[str, np.ndarray], r: int, row: int, sample: int, update: int) -> SeenResponse:
    length = int(part["mask_PGT"][r].sum())
    return SeenResponse(
        row=row,
        sample=sample,
        update=update,
        prompt_id=int(part["prompt_id_P"][r]),
        prompt_ids_S=part["prompt_ids_PS"][r][part["prompt_mask_PS"][r]],
        ids_T=part["ids_PGT"][r][:length],
        logp_T=part["logp_PGT"][r][:length],
        entropy_T=part["entropy_PGT"][r][:length],
        covariance_T=part["covariance_PGT"][r][:length],
        selected_T=part["selected_PGT"][r][:length],
    )

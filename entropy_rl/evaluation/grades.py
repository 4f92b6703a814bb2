"""Judging a rollout that lies on many processes: each grades rows of its own, and all learn all grades."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Bool, Int32, Shaped

from entropy_rl.data.graders import GradeBatch, Grader, Response
from entropy_rl.data.prompts import Prompt
from entropy_rl.data.tokenizers import Tokenizer
from entropy_rl.evaluation.duplicates import duplicates, near_duplicates
from entropy_rl.parallelism import held_rows, owned_rows, rows_on_host, share, share_rows
from entropy_rl.types import Rollout


@dataclass(frozen=True, kw_only=True)
class RolloutGrades:
    """The grades of a rollout and the lengths of its responses, equal on every process."""

    grades: GradeBatch
    """Its `seconds` are those of the process that took longest; its texts are those of this process's rows,
    and None elsewhere."""
    length_PG: Int32[np.ndarray, "P G"]
    """Tokens, the stop token included."""
    truncated_PG: Bool[np.ndarray, "P G"]
    """Which responses ended at the limit of tokens and not by a stop token."""
    duplicate_PG: Bool[np.ndarray, "P G"]
    """Which responses equal an earlier one of their group, token by token."""
    near_duplicate_PG: Bool[np.ndarray, "P G"]
    """Which have nearly the words of an earlier one of their group (entropy_rl.evaluation.duplicates)."""
    text_PG: Shaped[np.ndarray, "P G"]
    """Objects: the responses to this process's rows, and None elsewhere; `share_texts` brings the others."""


def grade_rollout(
    rollout: Rollout,
    prompts: Sequence[Prompt],
    tokenizer: Tokenizer,
    grader: Grader,
    placement: jax.sharding.Sharding,
) -> RolloutGrades:
    """Grades the responses to `prompts`; all processes must call it.

    `placement` is the sharding of arrays of prompts, by which rows belong to processes.
    """
    num_prompts = len(prompts)
    # A process without rows (there are more processes than rows) judges another's, for the sake of shapes.
    rows = owned_rows(placement, num_prompts)
    rows = rows if len(rows) else held_rows(placement, num_prompts)[:1]
    arrays = jax.device_put((rollout.response_ids_PGT, rollout.response_mask_PGT), placement)
    ids_PGT, mask_PGT = (rows_on_host(x, rows) for x in arrays)
    length_PG, stopped_PG = _ends(ids_PGT, mask_PGT, tokenizer)
    texts = _texts(ids_PGT, length_PG - stopped_PG, tokenizer)
    responses = _responses(texts, length_PG, ~stopped_PG)
    grades = grader.grade([prompts[row] for row in rows], responses)
    measured = (
        grades.reward_PG,
        grades.correct_PG,
        grades.timed_out_PG,
        grades.mean_P,
        grades.count_P,
        length_PG,
        ~stopped_PG,
        duplicates(ids_PGT, length_PG),
        near_duplicates(texts),
    )
    reward_PG, correct_PG, timed_out_PG, mean_P, count_P, length_PG, truncated_PG, *twice = share_rows(
        measured, placement, num_prompts
    )
    everyones = GradeBatch(
        reward_PG=reward_PG,
        correct_PG=correct_PG,
        timed_out_PG=timed_out_PG,
        extracted_PG=_placed(grades.extracted_PG, rows, num_prompts),
        method_PG=_placed(grades.method_PG, rows, num_prompts),
        seconds=float(share(np.float64(grades.seconds)).max()),
        mean_P=mean_P,
        count_P=count_P,
    )
    return RolloutGrades(
        grades=everyones,
        length_PG=length_PG,
        truncated_PG=truncated_PG,
        duplicate_PG=twice[0],
        near_duplicate_PG=twice[1],
        text_PG=_placed(np.array(texts, object), rows, num_prompts),
    )


def share_texts(
    text_PG: Shaped[np.ndarray, "P G"], placement: jax.sharding.Sharding
) -> Shaped[np.ndarray, "P G"]:
    """Texts (or None) of the rows that each process owns, on every process; all must call it."""
    num_prompts, num_samples = text_PG.shape
    own_RG = text_PG[owned_rows(placement, num_prompts)]
    encoded = [b"" if text is None else text.encode() for text in own_RG.flat]
    width = int(share(np.int64(max(map(len, encoded), default=0))).max())
    bytes_RGW = np.frombuffer(b"".join(x.ljust(width, b"\0") for x in encoded), np.uint8)
    bytes_RGW = bytes_RGW.reshape(len(own_RG), num_samples, width)
    length_RG = np.array(
        [-1 if text is None else len(x) for text, x in zip(own_RG.flat, encoded, strict=True)]
    )
    length_RG = length_RG.astype(np.int32).reshape(own_RG.shape)
    bytes_PGW, length_PG = share_rows((bytes_RGW, length_RG), placement, num_prompts)
    everyones_PG = np.full(text_PG.shape, None, object)
    for p, g in np.argwhere(length_PG >= 0):
        everyones_PG[p, g] = bytes_PGW[p, g, : length_PG[p, g]].tobytes().decode()
    return everyones_PG


def joined_grades(parts: Sequence[RolloutGrades]) -> RolloutGrades:
    """The grades of several rollouts as those of one; their seconds add up."""
    return _joined(parts)


def response_texts(rollout: Rollout, tokenizer: Tokenizer) -> list[list[str]]:
    """The text of every response of a rollout that lies in this process, its stop token left out."""
    ids_PGT, mask_PGT = jax.device_get((rollout.response_ids_PGT, rollout.response_mask_PGT))
    length_PG, stopped_PG = _ends(ids_PGT, mask_PGT, tokenizer)
    return _texts(ids_PGT, length_PG - stopped_PG, tokenizer)


def _ends(ids_PGT, mask_PGT, tokenizer: Tokenizer):
    """(tokens of each response with its stop token, whether it has one)."""
    stopped_PG = (np.isin(ids_PGT, tokenizer.stop_ids) & mask_PGT).any(axis=-1)
    return mask_PGT.sum(axis=-1, dtype=np.int32), stopped_PG


def _texts(ids_PGT, length_PG, tokenizer: Tokenizer) -> list[list[str]]:
    return [
        [tokenizer.decode(ids_T[:length].tolist()) for ids_T, length in zip(ids_GT, length_G, strict=True)]
        for ids_GT, length_G in zip(ids_PGT, length_PG, strict=True)
    ]


def _responses(texts: list[list[str]], length_PG, truncated_PG) -> list[list[Response]]:
    return [
        [
            Response(text=text, num_tokens=int(length), truncated=bool(truncated))
            for text, length, truncated in zip(*group, strict=True)
        ]
        for group in zip(texts, length_PG, truncated_PG, strict=True)
    ]


def _placed(x_RG: np.ndarray, rows: np.ndarray, num_prompts: int) -> np.ndarray:
    """Objects of some rows among those of all, which are None."""
    x_PG = np.full((num_prompts, x_RG.shape[1]), None, object)
    x_PG[rows] = x_RG
    return x_PG


def _joined(values: Sequence):
    match values[0]:
        case np.ndarray():
            return np.concatenate(values)
        case dict() as first:
            return {name: _joined([value[name] for value in values]) for name in first}
        case RolloutGrades() | GradeBatch() as first:
            return type(first)(**_joined([vars(value) for value in values]))
        case _:
            return sum(values)

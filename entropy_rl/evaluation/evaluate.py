"""Sampling held-out prompts and judging the answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Bool

from entropy_rl.data.pipeline import collate
from entropy_rl.data.prompts import Prompt
from entropy_rl.data.tasks import Grader
from entropy_rl.data.tokenizers import Tokenizer
from entropy_rl.evaluation.pass_at_k import pass_at_k
from entropy_rl.sampler import Sampler
from entropy_rl.types import Rollout


@dataclass(frozen=True, kw_only=True)
class EvaluationReport:
    """The judgement of G samples of every held-out prompt."""

    correct_PG: Bool[np.ndarray, "P G"]
    mean_length_tokens: float
    truncated_fraction: float
    """Responses that reached the limit without a stop token."""

    def numbers(self) -> dict[str, float | int]:
        """accuracy = average@1 estimated from all samples, average@G, and pass@k for k = 1, 2, 4, ... G."""
        num_prompts, num_samples = self.correct_PG.shape
        powers = [1 << i for i in range(num_samples.bit_length()) if 1 << i <= num_samples]
        accuracy = float(self.correct_PG.mean())
        return {
            "num_prompts": num_prompts,
            "num_samples": num_samples,
            "accuracy": accuracy,
            f"average@{num_samples}": accuracy,
            **{f"pass@{k}": pass_at_k(self.correct_PG, k) for k in sorted({*powers, num_samples})},
            "mean_length_tokens": self.mean_length_tokens,
            "truncated_fraction": self.truncated_fraction,
        }


def response_texts(rollout: Rollout, tokenizer: Tokenizer) -> list[list[str]]:
    """The text of every sampled response, its stop token left out."""
    ids_PGT, mask_PGT = jax.device_get((rollout.response_ids_PGT, rollout.response_mask_PGT))
    stopped_PG = (np.isin(ids_PGT, tokenizer.stop_ids) & mask_PGT).any(axis=-1)
    length_PG = mask_PGT.sum(axis=-1) - stopped_PG
    return [
        [tokenizer.decode(ids_T[:length].tolist()) for ids_T, length in zip(ids_GT, length_G, strict=True)]
        for ids_GT, length_G in zip(ids_PGT, length_PG, strict=True)
    ]


def truncated(rollout: Rollout, stop_ids: Sequence[int]) -> Bool[np.ndarray, "P G"]:
    """Which responses ended at the limit of tokens and not by a stop token."""
    ids_PGT, mask_PGT = jax.device_get((rollout.response_ids_PGT, rollout.response_mask_PGT))
    return ~np.any(np.isin(ids_PGT, list(stop_ids)) & mask_PGT, axis=-1)


def evaluate(
    sampler: Sampler,
    params,
    prompts: Sequence[Prompt],
    tokenizer: Tokenizer,
    grader: Grader,
    key: jax.Array,
    *,
    max_prompt_tokens: int,
    prompts_per_batch: int,
    placement: jax.sharding.Sharding | None = None,
    on_batch: Callable[[int], None] = lambda num_done: None,
) -> EvaluationReport:
    """Samples every prompt and judges all responses; `on_batch(prompts done)` is called as it goes.
    `placement` is where arrays of prompts lie.

    The tokens do not depend on `prompts_per_batch`. Raises ValueError when there is no prompt.
    """
    if not prompts:
        raise ValueError(
            "evaluation needs at least one held-out prompt, got none; check the task's held-out data"
        )
    working = sampler.working_params(params)
    correct, lengths, cut = [], [], []
    size = prompts_per_batch
    for start in range(0, len(prompts), size):
        chunk = list(prompts[start : start + size])
        filled = chunk + [prompts[0]] * (size - len(chunk))  # one shape, one compilation
        batch = collate(filled, tokenizer, max_prompt_tokens)
        arrays = jax.device_put((batch.prompt_ids_PS, batch.prompt_mask_PS, batch.prompt_id_P), placement)
        rollout = sampler(working, *arrays, key)
        rollout = _first(rollout, len(chunk))
        correct.append(grader.grade(chunk, response_texts(rollout, tokenizer)).correct_PG)
        lengths.append(np.asarray(rollout.response_mask_PGT).sum(axis=-1))
        cut.append(truncated(rollout, tokenizer.stop_ids))
        on_batch(start + len(chunk))
    return EvaluationReport(
        correct_PG=np.concatenate(correct),
        mean_length_tokens=float(np.concatenate(lengths).mean()),
        truncated_fraction=float(np.concatenate(cut).mean()),
    )


def _first(rollout: Rollout, num_prompts: int) -> Rollout:
    """The groups of the first prompts."""
    return jax.tree.map(lambda x: x[:num_prompts], rollout)

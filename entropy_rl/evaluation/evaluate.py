"""Sampling held-out prompts and judging the answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Bool

from entropy_rl.data.graders import Grader
from entropy_rl.data.pipeline import collate
from entropy_rl.data.prompts import Prompt
from entropy_rl.data.tokenizers import Tokenizer
from entropy_rl.evaluation.grades import grade_rollout
from entropy_rl.evaluation.pass_at_k import pass_at_k
from entropy_rl.parallelism import held_rows, to_global
from entropy_rl.sampler import Sampler


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
    placement: jax.sharding.Sharding,
    on_batch: Callable[[int], None] = lambda num_done: None,
    on_pause: Callable[[], None] = lambda: None,
) -> EvaluationReport:
    """Samples every prompt and judges all responses; `on_batch(prompts done)` is called as it goes.

    A batch has at most `prompts_per_batch` prompts, which the shards of `placement`, where arrays of prompts
    lie, must divide; the tokens do not depend on it. The sampler calls `on_pause` now and then. Raises
    ValueError when there is no prompt.
    """
    if not prompts:
        raise ValueError(
            "evaluation needs at least one held-out prompt, got none; check the task's held-out data"
        )
    working = sampler.working_params(params)
    correct, lengths, cut = [], [], []
    size = _batch_size(len(prompts), prompts_per_batch, placement)
    for start in range(0, len(prompts), size):
        chunk = list(prompts[start : start + size])
        filled = chunk + [prompts[0]] * (size - len(chunk))  # one shape, one compilation
        batch = collate(filled, tokenizer, max_prompt_tokens, held_rows(placement, size))
        arrays = to_global((batch.prompt_ids_PS, batch.prompt_mask_PS, batch.prompt_id_P), placement)
        rollout = sampler(working, *arrays, key, on_pause=on_pause)
        graded = grade_rollout(rollout, filled, tokenizer, grader, placement)
        correct.append(graded.grades.correct_PG[: len(chunk)])
        lengths.append(graded.length_PG[: len(chunk)])
        cut.append(graded.truncated_PG[: len(chunk)])
        on_batch(start + len(chunk))
    return EvaluationReport(
        correct_PG=np.concatenate(correct),
        mean_length_tokens=float(np.concatenate(lengths).mean()),
        truncated_fraction=float(np.concatenate(cut).mean()),
    )


def _batch_size(num_prompts: int, most: int, placement: jax.sharding.Sharding) -> int:
    """Prompts of a batch: all where that is fewer, with as many more as make the shards equal."""
    num_shards = most // placement.shard_shape((most,))[0]
    return min(most, -(-num_prompts // num_shards) * num_shards)

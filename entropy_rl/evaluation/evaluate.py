"""Sampling prompts and judging the answers, a batch at a time."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Bool

from entropy_rl.data.graders import Grader
from entropy_rl.data.pipeline import collate
from entropy_rl.data.prompts import Prompt
from entropy_rl.data.tokenizers import Tokenizer
from entropy_rl.evaluation.grades import RolloutGrades, grade_rollout
from entropy_rl.evaluation.pass_at_k import ks_up_to, pass_at_k
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
        """accuracy, the same as average@G (mean@G in tables of suites), and pass@k for k = 1, 2, 4, ... G."""
        num_prompts, num_samples = self.correct_PG.shape
        accuracy = float(self.correct_PG.mean())
        return {
            "num_prompts": num_prompts,
            "num_samples": num_samples,
            "accuracy": accuracy,
            f"average@{num_samples}": accuracy,
            **{f"pass@{k}": pass_at_k(self.correct_PG, k) for k in ks_up_to(num_samples)},
            "mean_length_tokens": self.mean_length_tokens,
            "truncated_fraction": self.truncated_fraction,
        }


@dataclass(frozen=True, kw_only=True)
class JudgedBatch:
    """Prompts, and the grades of their responses."""

    prompts: Sequence[Prompt]
    num_done: int
    """Prompts up to here, those of earlier batches counted in."""
    graded: RolloutGrades
    """Its first rows; more rows may follow that filled the batch up."""
    sampling_seconds: float


def judged_batches(
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
    is_done: Callable[[Sequence[Prompt]], bool] = lambda prompts: False,
    on_pause: Callable[[], None] = lambda: None,
) -> Iterator[JudgedBatch]:
    """Samples prompts batch after batch and judges all responses.

    A batch has at most `prompts_per_batch` prompts, which the shards of `placement`, where arrays of prompts
    lie, must divide; the tokens do not depend on it. Batches of which `is_done` says so are passed over: the
    others stay what they would be, to the last bit. The sampler calls `on_pause` now and then.
    """
    working = sampler.working_params(params)
    size = _batch_size(len(prompts), prompts_per_batch, placement)
    for start in range(0, len(prompts), size):
        chunk = list(prompts[start : start + size])
        if is_done(chunk):
            continue
        filled = chunk + [prompts[0]] * (size - len(chunk))  # one shape, one compilation
        start_seconds = time.perf_counter()
        batch = collate(filled, tokenizer, max_prompt_tokens, held_rows(placement, size))
        arrays = to_global((batch.prompt_ids_PS, batch.prompt_mask_PS, batch.prompt_id_P), placement)
        rollout = jax.block_until_ready(sampler(working, *arrays, key, on_pause=on_pause))
        sampling_seconds = time.perf_counter() - start_seconds
        yield JudgedBatch(
            prompts=chunk,
            num_done=start + len(chunk),
            graded=grade_rollout(rollout, filled, tokenizer, grader, placement),
            sampling_seconds=sampling_seconds,
        )


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
    """`judged_batches`, and what they say together; `on_batch(prompts done)` is called as it goes.

    Raises ValueError when there is no prompt.
    """
    if not prompts:
        raise ValueError(
            "evaluation needs at least one held-out prompt, got none; check the task's held-out data"
        )
    correct, lengths, cut = [], [], []
    for batch in judged_batches(
        sampler,
        params,
        prompts,
        tokenizer,
        grader,
        key,
        max_prompt_tokens=max_prompt_tokens,
        prompts_per_batch=prompts_per_batch,
        placement=placement,
        on_pause=on_pause,
    ):
        num_prompts = len(batch.prompts)
        correct.append(batch.graded.grades.correct_PG[:num_prompts])
        lengths.append(batch.graded.length_PG[:num_prompts])
        cut.append(batch.graded.truncated_PG[:num_prompts])
        on_batch(batch.num_done)
    return EvaluationReport(
        correct_PG=np.concatenate(correct),
        mean_length_tokens=float(np.concatenate(lengths).mean()),
        truncated_fraction=float(np.concatenate(cut).mean()),
    )


def _batch_size(num_prompts: int, most: int, placement: jax.sharding.Sharding) -> int:
    """Prompts of a batch: all where that is fewer, with as many more as make the shards equal."""
    num_shards = most // placement.shard_shape((most,))[0]
    return min(most, -(-num_prompts // num_shards) * num_shards)

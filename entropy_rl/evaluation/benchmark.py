"""Asking a policy the problems of one benchmark: records, one a problem."""

import hashlib
from collections.abc import Callable, Iterator

import jax

from entropy_rl.data.graders import Grader
from entropy_rl.data.prompts import Prompt
from entropy_rl.data.tokenizers import Tokenizer
from entropy_rl.evaluation.evaluate import JudgedBatch, judged_batches
from entropy_rl.evaluation.grades import share_texts
from entropy_rl.evaluation.problems import Problems
from entropy_rl.evaluation.records import Record
from entropy_rl.evaluation.suite import Benchmark
from entropy_rl.models.policy import Policy
from entropy_rl.sampler import Sampler


def key_of(benchmark: Benchmark, key: jax.Array) -> jax.Array:
    """The benchmark's own random key, whatever others are asked beside it."""
    number = hashlib.sha256(benchmark.name.encode()).digest()[:4]
    return jax.random.fold_in(key, int.from_bytes(number, "big") >> 1)


def ask(
    benchmark: Benchmark,
    problems: Problems,
    policy: Policy,
    params,
    tokenizer: Tokenizer,
    grader: Grader,
    key: jax.Array,
    *,
    prompts_per_batch: int,
    placement: jax.sharding.Sharding,
    is_recorded: Callable[[Prompt], bool] = lambda prompt: False,
    on_pause: Callable[[], None] = lambda: None,
) -> Iterator[tuple[list[Record], int]]:
    """(new records, problems done) after each batch, the same on every process; `key` is for all benchmarks.

    No token depends on `prompts_per_batch`, on what is recorded already or on other benchmarks.
    """
    sampler = Sampler(
        policy=policy,
        sampling=benchmark.sampling,
        stop_ids=tokenizer.stop_ids,
        pad_id=tokenizer.pad_id,
        num_samples=benchmark.num_samples,
        max_new_tokens=benchmark.max_response_tokens,
    )
    for batch in judged_batches(
        sampler,
        params,
        problems.prompts,
        tokenizer,
        grader,
        key_of(benchmark, key),
        max_prompt_tokens=problems.max_tokens,
        prompts_per_batch=prompts_per_batch,
        placement=placement,
        is_done=lambda prompts: all(map(is_recorded, prompts)),
        on_pause=on_pause,
    ):
        records = _records(batch, placement)
        yield [r for r, p in zip(records, batch.prompts, strict=True) if not is_recorded(p)], batch.num_done


def _records(batch: JudgedBatch, placement: jax.sharding.Sharding) -> list[Record]:
    graded, grades = batch.graded, batch.graded.grades
    texts = (graded.text_PG, grades.extracted_PG, grades.method_PG)
    text_PG, extracted_PG, method_PG = (share_texts(x_PG, placement) for x_PG in texts)
    num_prompts, num_samples = len(batch.prompts), text_PG.shape[1]

    def sample(row: int, g: int) -> dict:
        return {
            "text": text_PG[row, g],
            "extracted": extracted_PG[row, g],
            "correct": bool(grades.correct_PG[row, g]),
            "score": float(grades.reward_PG[row, g]),
            "method": method_PG[row, g],
            "timed_out": bool(grades.timed_out_PG[row, g]),
            "num_tokens": int(graded.length_PG[row, g]),
            "truncated": bool(graded.truncated_PG[row, g]),
        }

    return [
        {
            "id": prompt.prompt_id,
            "origin": prompt.origin,
            "answer": prompt.answer,
            "sampling_seconds": batch.sampling_seconds / num_prompts,
            "judging_seconds": grades.seconds / num_prompts,
            "samples": [sample(row, g) for g in range(num_samples)],
        }
        for row, prompt in enumerate(batch.prompts)
    ]

"""Sampling completions of given texts."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp

from entropy_rl.data.pipeline import collate
from entropy_rl.data.prompts import Prompt
from entropy_rl.data.rows import RowError, read_rows
from entropy_rl.data.tokenizers import ChatMessage
from entropy_rl.evaluation.grades import response_texts
from entropy_rl.kernel_choice import Kernels
from entropy_rl.sampler import Sampler, Sampling
from entropy_rl.stored_policy import StoredPolicy


def read_prompt_texts(path: Path) -> list[str]:
    """The texts of a JSONL file of {"prompt"}. Raises ValueError with file and line at the first bad row."""
    texts = []
    for line, row in read_rows(path, ("prompt",)):
        if isinstance(row, RowError) or not isinstance(row.get("prompt"), str):
            raise ValueError(f'{path}:{line}: a row must be {{"prompt": TEXT}}, got {row}')
        texts.append(row["prompt"])
    return texts


def generate(
    stored: StoredPolicy,
    texts: Sequence[str],
    sampling: Sampling,
    *,
    chat: bool,
    num_samples: int,
    max_new_tokens: int,
    seed: int,
) -> Iterator[dict]:
    """For every sample: {"prompt", "completion", "num_tokens", "logp"}, the log-prob summed over its tokens.

    Raises ValueError when there is no text.
    """
    if not texts:
        raise ValueError("generate needs a prompt; give --prompt TEXT or --input FILE.jsonl")
    prompts = [
        Prompt(
            prompt_id=number,
            content=(ChatMessage("user", text),) if chat else text,
            answer="",
            data_source="command line",
            origin=f"prompt {number + 1}",
        )
        for number, text in enumerate(texts)
    ]
    longest = max(len(prompt.encode(stored.tokenizer)) for prompt in prompts)
    batch = collate(prompts, stored.tokenizer, longest)
    sampler = Sampler(
        policy=Kernels.of_one_device(stored.policy.config, stored.policy.compute_dtype).equip(stored.policy),
        sampling=sampling,
        stop_ids=stored.tokenizer.stop_ids,
        pad_id=stored.tokenizer.pad_id,
        num_samples=num_samples,
        max_new_tokens=max_new_tokens,
    )
    arrays = (stored.params, batch.prompt_ids_PS, batch.prompt_mask_PS, batch.prompt_id_P)
    params, *prompts = jax.device_put(arrays)
    rollout = sampler(sampler.working_params(params), *prompts, jax.random.key(seed))
    num_tokens_PG = rollout.response_mask_PGT.sum(axis=-1).tolist()
    logp_PG = jnp.sum(rollout.logp_PGT, axis=-1).tolist()
    for text, group, counts, logps in zip(
        texts, response_texts(rollout, stored.tokenizer), num_tokens_PG, logp_PG, strict=True
    ):
        for completion, count, logp in zip(group, counts, logps, strict=True):
            yield {"prompt": text, "completion": completion, "num_tokens": count, "logp": logp}

"""A prompt: what is asked, the answer it is judged by, and where it came from."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np

from entropy_rl.data.tokenizers import ChatMessage, Tokenizer
from entropy_rl.parallelism import share


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """One problem of a data set."""

    prompt_id: int
    """Identity within its task, the same in every run; random keys are derived from it."""
    content: str | tuple[ChatMessage, ...]
    """Plain text, or a conversation that the tokenizer's chat template renders."""
    answer: str
    """What the grader compares with."""
    data_source: str
    """Name of the data set, by which graders and reports tell prompts apart."""
    origin: str
    """Where it was read, as "file:line", or how it was drawn."""
    part: int = 0
    """Which part of a mixture it belongs to."""

    @property
    def text(self) -> str:
        """What is asked, without system turns and chat template."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(message.content for message in self.content if message.role != "system")

    def encode(self, tokenizer: Tokenizer) -> list[int]:
        if isinstance(self.content, str):
            return tokenizer.encode(self.content)
        return tokenizer.encode_chat(self.content)


def within_length(prompts: Sequence[Prompt], tokenizer: Tokenizer, max_prompt_tokens: int) -> list[Prompt]:
    """The prompts of 1 to `max_prompt_tokens` tokens, each counted by one process of the run for all.

    Raises ValueError when none is left.
    """
    fits_N = np.zeros(len(prompts), bool)
    for n in range(jax.process_index(), len(prompts), jax.process_count()):
        fits_N[n] = 0 < len(prompts[n].encode(tokenizer)) <= max_prompt_tokens
    fits_N = share(fits_N).any(axis=0)
    kept = [prompt for prompt, fits in zip(prompts, fits_N, strict=True) if fits]
    if not kept:
        raise ValueError(
            f"some prompt must have 1 to max_prompt_tokens={max_prompt_tokens} tokens; none of the "
            f"{len(prompts)} given has; raise max_prompt_tokens or check the data"
        )
    return kept

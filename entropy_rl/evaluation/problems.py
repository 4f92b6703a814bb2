"""The problems of a benchmark as a policy reads them, and what of its file is not asked."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from entropy_rl.data.prompt_files import PromptFile, read_prompts
from entropy_rl.data.prompts import Prompt
from entropy_rl.data.tokenizers import Tokenizer
from entropy_rl.evaluation.suite import Benchmark

PADDED_TO = 64
"""Prompts are padded to a multiple of so many tokens, that few shapes be compiled."""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """Rows of a benchmark's file that are no problems to the policy, by what is the matter with them."""

    num_too_long: int = 0
    """Prompts of too many tokens, among those that would be asked."""
    num_duplicates: int = 0
    """Rows whose prompt stands further up, in the whole file."""
    num_malformed: int = 0
    """Rows that do not fit the schema, in the whole file."""


@dataclass(frozen=True, kw_only=True)
class Problems:
    """The problems of a benchmark as a policy reads them."""

    prompts: Sequence[Prompt]
    left_out: LeftOut
    max_tokens: int
    """S, to which prompts are padded."""
    digest: str
    """Equal for equal tokens and answers."""


def read_problems(file: PromptFile, benchmark: Benchmark, tokenizer: Tokenizer) -> Problems:
    """The problems of a file. Raises ValueError when none is short enough."""
    report = read_prompts(file)
    prompts = report.prompts[: benchmark.max_problems]
    ids = [prompt.encode(tokenizer) for prompt in prompts]
    kept = [n for n, tokens in enumerate(ids) if 0 < len(tokens) <= benchmark.max_prompt_tokens]
    if not kept:
        raise ValueError(
            f"{benchmark.name} must have a prompt of 1 to max_prompt_tokens={benchmark.max_prompt_tokens} "
            f"tokens, none of its {len(prompts)} has; raise max_prompt_tokens or check {file.path}"
        )
    digest = hashlib.sha256()
    for n in kept:
        digest.update(f"{prompts[n].prompt_id} {ids[n]} {prompts[n].answer}\0".encode())
    longest = max(len(ids[n]) for n in kept)
    return Problems(
        prompts=[prompts[n] for n in kept],
        left_out=LeftOut(
            num_too_long=len(prompts) - len(kept),
            num_duplicates=report.num_duplicates,
            num_malformed=len(report.malformed),
        ),
        max_tokens=min(-(-longest // PADDED_TO) * PADDED_TO, benchmark.max_prompt_tokens),
        digest=digest.hexdigest(),
    )

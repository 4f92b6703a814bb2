"""python -m entropy_rl generate"""

import json
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from entropy_rl.data.prompts import Prompt
from entropy_rl.generate import Generator, prompts_of, read_questions
from entropy_rl.observability.bar import Bar
from entropy_rl.sampler import Sampling


@dataclass(frozen=True, kw_only=True)
class Generate:
    """Sample completions of prompts: one as it is written, many as JSON lines.

    Example: python -m entropy_rl generate --policy policies/smollm2-135m --prompt "What is 17 + 25?"

    On a terminal the single completion of a single prompt appears token by token. Everything else is a JSON
    object a sample, in the order of the prompts: {"prompt", "completion", "num_tokens", "logp"}.
    """

    policy: Path
    """Hugging Face folder, or the folder of a run (its newest checkpoint)."""
    prompt: tuple[str, ...] = ()
    """Texts to answer or to continue."""
    input: Path | None = None
    """JSONL file of {"prompt": TEXT} or {"messages": [{"role", "content"}, ...]}, beside or instead of
    --prompt; what else a row holds is kept."""
    output: Path | None = None
    """Write the JSON lines to this file, a batch as soon as it is done."""
    show: Literal["auto", "text", "json"] = "auto"
    """text streams the completion; json prints lines; auto is text for one sample on a terminal."""
    chat: bool = True
    """Put prompts into the chat template of a tokenizer that has one; --no-chat continues plain text."""
    system: str | None = None
    """System turn at the beginning of each conversation; None leaves it to the template."""
    num_samples: int = 1
    """Completions of each prompt."""
    prompts_per_batch: int = 8
    """Prompts that are sampled together, for speed and at a price of memory; completions are the same."""
    max_new_tokens: int = 128
    """Longest completion."""
    temperature: float = 1.0
    """Divides the logits."""
    top_k: int | None = None
    """Keep only the k most probable tokens; 1 is greedy."""
    top_p: float = 1.0
    """Keep the most probable tokens of this mass."""
    min_new_tokens: int = 0
    """No stop token before so many tokens."""
    seed: int = 0
    """Same seed, same completions."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Dtype of parameters and activations; bfloat16 takes half the memory and keeps 8 bits."""

    def run(self) -> None:
        rows = [{"prompt": text} for text in self.prompt]
        rows += [] if self.input is None else read_questions(self.input)
        prompts = prompts_of(rows, chat=self.chat, system=self.system)
        streams = self._streams(len(prompts) * self.num_samples)
        generator = Generator.load(
            self.policy,
            dtype=self.dtype,
            sampling=Sampling(
                temperature=self.temperature,
                top_k=self.top_k,
                top_p=self.top_p,
                min_new_tokens=self.min_new_tokens,
            ),
            num_samples=self.num_samples,
            max_new_tokens=self.max_new_tokens,
            seed=self.seed,
        )
        if streams:
            told = generator.stream(prompts[0], lambda text: print(text, end="", flush=True))
            print()
            print(told, file=sys.stderr)
            return
        with nullcontext(sys.stdout) if self.output is None else self.output.open("w") as file:
            for line in self._lines(generator, rows, prompts):
                print(line, file=file, flush=True)

    def _streams(self, num_completions: int) -> bool:
        """Whether the completion is streamed. Raises ValueError where it cannot be."""
        can = num_completions == 1 and self.output is None
        if self.show == "text" and not can:
            raise ValueError(
                f"--show text streams one completion to the terminal, got {num_completions} to "
                f"{self.output or 'it'}; ask for one, or leave --show away"
            )
        return can and (self.show == "text" or (self.show == "auto" and sys.stdout.isatty()))

    def _lines(self, generator: Generator, rows: list[dict], prompts: list[Prompt]) -> Iterator[str]:
        """A JSON object a sample, batch after batch."""
        done, shown = 0, self.input is not None or self.output is not None
        with Bar("generate", total=len(prompts), shown=shown) as bar:
            for batch in generator.batches(prompts, self.prompts_per_batch):
                for row, samples in zip(rows[done:], batch, strict=False):
                    yield from (json.dumps(row | sample) for sample in samples)
                done += len(batch)
                bar.update(done)

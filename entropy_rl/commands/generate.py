"""python -m entropy_rl generate"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from entropy_rl.generate import generate, read_prompt_texts
from entropy_rl.sampler import Sampling
from entropy_rl.stored_policy import read_policy


@dataclass(frozen=True, kw_only=True)
class Generate:
    """Sample completions of prompts; prints a JSON object a sample.

    Example: python -m entropy_rl generate --policy policies/smollm2-135m --prompt "What is 17 + 25?" --chat
    """

    policy: Path
    """Hugging Face folder, or the folder of a run (its newest checkpoint)."""
    prompt: tuple[str, ...] = ()
    """Texts to continue."""
    input: Path | None = None
    """JSONL file of {"prompt": TEXT}, instead of --prompt."""
    chat: bool = False
    """Put each prompt into the tokenizer's chat template."""
    num_samples: int = 1
    """Completions of each prompt."""
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
        texts = self.prompt if self.input is None else (*self.prompt, *read_prompt_texts(self.input))
        sampling = Sampling(
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            min_new_tokens=self.min_new_tokens,
        )
        for sample in generate(
            read_policy(self.policy, param_dtype=self.dtype),
            texts,
            sampling,
            chat=self.chat,
            num_samples=self.num_samples,
            max_new_tokens=self.max_new_tokens,
            seed=self.seed,
        ):
            print(json.dumps(sample))

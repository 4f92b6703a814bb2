"""python -m entropy_rl score"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jax

from entropy_rl.data.text_pairs import read_text_pairs
from entropy_rl.evaluation.score import score_rows
from entropy_rl.kernel_choice import Kernels
from entropy_rl.stored_policy import read_policy


@dataclass(frozen=True, kw_only=True)
class Score:
    """Print log-probs and entropies of given completions, a JSON object a row.

    Rows of the input are {"prompt", "completion"}, each tokenised by itself, without chat template or special
    tokens. The output has "logps" and "entropies" (nats, temperature 1), one entry a completion token.
    """

    policy: Path
    """Hugging Face folder, or the folder of a run (its newest checkpoint)."""
    input: Path
    """JSONL file of {"prompt", "completion"}."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Dtype of parameters and activations; bfloat16 takes half the memory and keeps 8 bits."""

    def run(self) -> None:
        rows = read_text_pairs(self.input)
        stored = read_policy(self.policy, param_dtype=self.dtype)
        policy = Kernels.of_one_device(stored.policy.config, self.dtype).equip(stored.policy)
        for row in score_rows(policy, jax.device_put(stored.params), stored.tokenizer, rows):
            print(json.dumps(row))

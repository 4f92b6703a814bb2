"""Writes the goldens of test_transformers_parity.py: tiny random models and their logits by transformers.

    python tests/models/goldens/make.py

Made with transformers 5.23.0 and torch 2.13.0 (CPU, f32 arithmetic). `tied` is one bfloat16 file, `untied` is
float32 in shards with an index, `qwen3` is untied in one bfloat16 file. Every parameter is random, biases and
norms too.
"""

import shutil
from pathlib import Path

import numpy as np
import torch
from transformers import (
    AutoModelForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

FAMILIES = {"qwen2": (Qwen2Config, Qwen2ForCausalLM), "qwen3": (Qwen3Config, Qwen3ForCausalLM)}
CASES = {
    # name: (family, tied, dtype, largest shard)
    "tied": ("qwen2", True, torch.bfloat16, "100MB"),
    "untied": ("qwen2", False, torch.float32, "20KB"),
    "qwen3": ("qwen3", False, torch.bfloat16, "100MB"),
}


def random_model(family: str, tie_word_embeddings: bool) -> PreTrainedModel:
    """Every axis of another size; three query heads to a key-value head."""
    torch.manual_seed(int(tie_word_embeddings))
    config_class, model_class = FAMILIES[family]
    config = config_class(
        vocab_size=31,
        hidden_size=13,
        intermediate_size=17,
        num_hidden_layers=3,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=10,
        tie_word_embeddings=tie_word_embeddings,
        rope_theta=1e4,
        max_position_embeddings=64,
    )
    model = model_class(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def main(folder: Path) -> None:
    tokens = torch.arange(22).reshape(2, 11) * 7 % 31
    for name, (family, tied, dtype, shard) in CASES.items():
        shutil.rmtree(folder / name, ignore_errors=True)
        random_model(family, tied).to(dtype).save_pretrained(folder / name, max_shard_size=shard)
        model = AutoModelForCausalLM.from_pretrained(folder / name, dtype=torch.float32)
        with torch.no_grad():
            logits = model(tokens).logits.numpy()
        np.savez(folder / name / "expected.npz", tokens=tokens.numpy().astype(np.int32), logits=logits)


if __name__ == "__main__":
    main(Path(__file__).parent)

"""Writes the goldens of test_transformers_parity.py: tiny random models and their logits by transformers.

    python tests/models/goldens/make.py

Made with transformers 5.23.0 and torch 2.13.0 (CPU, f32 arithmetic). `tied` is one bfloat16 file, `untied` is
float32 in shards with an index. Every parameter is random, biases and norms too.
"""

import shutil
from pathlib import Path

import numpy as np
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM


def random_model(tie_word_embeddings: bool) -> Qwen2ForCausalLM:
    """Every axis of another size; three query heads to a key-value head."""
    torch.manual_seed(int(tie_word_embeddings))
    config = Qwen2Config(
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
    model = Qwen2ForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def main(folder: Path) -> None:
    tokens = torch.arange(22).reshape(2, 11) * 7 % 31
    for name, dtype in (("tied", torch.bfloat16), ("untied", torch.float32)):
        shutil.rmtree(folder / name, ignore_errors=True)
        shard = "100MB" if name == "tied" else "20KB"
        random_model(name == "tied").to(dtype).save_pretrained(folder / name, max_shard_size=shard)
        model = Qwen2ForCausalLM.from_pretrained(folder / name, dtype=torch.float32)
        with torch.no_grad():
            logits = model(tokens).logits.numpy()
        np.savez(folder / name / "expected.npz", tokens=tokens.numpy().astype(np.int32), logits=logits)


if __name__ == "__main__":
    main(Path(__file__).parent)

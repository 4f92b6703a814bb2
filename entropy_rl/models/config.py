"""The architecture of a Qwen2 model: every published Qwen2.5 size, and any config.json of the family."""

from dataclasses import dataclass
from typing import Any

_HF_KEYS = {
    "vocab_size": "vocab_size",
    "num_layers": "num_hidden_layers",
    "hidden_size": "hidden_size",
    "intermediate_size": "intermediate_size",
    "num_heads": "num_attention_heads",
    "num_kv_heads": "num_key_value_heads",
}
"""Our name -> Hugging Face's, of the sizes that every config.json must give."""

_HF_REQUIRED = {
    "model_type": ("qwen2",),
    "hidden_act": ("silu", None),
    "use_sliding_window": (False, None),
    "attention_dropout": (0, 0.0, None),
}
"""Values of config.json under which it describes this architecture; None is an absent key."""


@dataclass(frozen=True, kw_only=True)
class Qwen2Config:
    """Sizes and constants of one Qwen2 model. Hashable, so that it may be static under `jax.jit`."""

    vocab_size: int
    """Rows of the embedding, padding included; a tokenizer may know fewer tokens."""
    num_layers: int
    """Decoder layers."""
    hidden_size: int
    """Width of the residual stream."""
    intermediate_size: int
    """Width of the gated MLP."""
    num_heads: int
    """Query heads."""
    num_kv_heads: int
    """Key and value heads; each serves num_heads / num_kv_heads query heads."""
    head_dim: int
    """Width of one head; even, as rotary embedding turns pairs."""
    rope_theta: float = 1e6
    """Base of the rotary frequencies."""
    rms_norm_eps: float = 1e-6
    """Added to the mean square in every RMSNorm."""
    tie_embeddings: bool = False
    """Whether the output head is the embedding itself."""
    max_positions: int = 32_768
    """Positions the model was trained for. Kept for config.json; nothing is allocated by it."""

    def __post_init__(self):
        if self.num_heads % self.num_kv_heads:
            raise ValueError(
                f"num_heads must be a multiple of num_kv_heads; got {self.num_heads} and {self.num_kv_heads}"
            )
        if self.head_dim % 2:
            raise ValueError(f"head_dim must be even for rotary embedding; got {self.head_dim}")

    @classmethod
    def from_hf(cls, hf: dict[str, Any]) -> "Qwen2Config":
        """Reads the dictionary of a config.json, in the spelling of transformers 4 or 5.

        Raises ValueError when a size is missing, or when the file asks for what Qwen2.5 does not have:
        another architecture or activation, sliding windows, scaled rotary embedding.
        """
        if missing := sorted(set(_HF_KEYS.values()) - hf.keys()):
            raise ValueError(f"config.json must give {', '.join(missing)}; add the missing keys")
        for key, allowed in _HF_REQUIRED.items():
            if (got := hf.get(key)) not in allowed:
                raise ValueError(f"config.json: {key} must be {allowed[0]!r} for a Qwen2 model; got {got!r}")
        if windowed := set(hf.get("layer_types") or ()) - {"full_attention"}:
            raise ValueError(f"config.json: layer_types must all be 'full_attention'; got {sorted(windowed)}")
        rope = {"rope_theta": hf.get("rope_theta", 1e4)}  # 1e4 is the default of transformers, when absent
        rope |= hf.get("rope_scaling") or {}
        rope |= hf.get("rope_parameters") or {}
        if (kind := rope.get("rope_type", rope.get("type", "default"))) != "default":
            raise ValueError(f"config.json: only plain rotary embedding is supported; got rope type {kind!r}")
        sizes = {ours: int(hf[theirs]) for ours, theirs in _HF_KEYS.items()}
        return cls(
            **sizes,
            head_dim=int(hf.get("head_dim") or sizes["hidden_size"] // sizes["num_heads"]),
            rope_theta=float(rope["rope_theta"]),
            rms_norm_eps=float(hf.get("rms_norm_eps", 1e-6)),
            tie_embeddings=bool(hf.get("tie_word_embeddings", False)),
            max_positions=int(hf.get("max_position_embeddings", 32_768)),
        )

    def to_hf(self, dtype: str) -> dict[str, Any]:
        """A config.json that `transformers.AutoModelForCausalLM` loads; `dtype` is of the saved weights."""
        return {
            "architectures": ["Qwen2ForCausalLM"],
            "model_type": "qwen2",
            **{theirs: getattr(self, ours) for ours, theirs in _HF_KEYS.items()},
            "head_dim": self.head_dim,
            "rope_theta": self.rope_theta,
            "rms_norm_eps": self.rms_norm_eps,
            "tie_word_embeddings": self.tie_embeddings,
            "max_position_embeddings": self.max_positions,
            "hidden_act": "silu",
            "attention_dropout": 0.0,
            "use_sliding_window": False,
            "torch_dtype": dtype,
        }


def _published(
    num_layers, hidden_size, intermediate_size, num_heads, num_kv_heads, vocab_size, tied, max_positions, eps
) -> Qwen2Config:
    return Qwen2Config(
        vocab_size=vocab_size,
        num_layers=num_layers,
        hidden_size=hidden_size,
        intermediate_size=intermediate_size,
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        head_dim=hidden_size // num_heads,
        rms_norm_eps=eps,
        tie_embeddings=tied,
        max_positions=max_positions,
    )


# fmt: off
QWEN2_5 = {
    #                      L     D      F   N  K       V   tied  positions   eps
    "0.5B": _published(   24,  896,  4864, 14, 2, 151936,  True,  32768, 1e-6),
    "1.5B": _published(   28, 1536,  8960, 12, 2, 151936,  True, 131072, 1e-6),
    "3B":   _published(   36, 2048, 11008, 16, 2, 151936,  True,  32768, 1e-6),
    "7B":   _published(   28, 3584, 18944, 28, 4, 152064, False, 131072, 1e-6),
    "14B":  _published(   48, 5120, 13824, 40, 8, 152064, False, 131072, 1e-5),
    "32B":  _published(   64, 5120, 27648, 40, 8, 152064, False, 131072, 1e-5),
    "72B":  _published(   80, 8192, 29568, 64, 8, 152064, False, 131072, 1e-5),
}
"""The base models of the Qwen2.5 release (arXiv 2412.15115), by name."""
# fmt: on

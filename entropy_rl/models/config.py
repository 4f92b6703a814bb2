"""The architecture of Qwen2 and dense Qwen3 models: published sizes, and any config.json of the two."""

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

_FAMILIES = {False: ("qwen2", "Qwen2ForCausalLM"), True: ("qwen3", "Qwen3ForCausalLM")}
"""`qk_norm` -> Hugging Face's model_type and architecture."""

_HF_REQUIRED = {
    "hidden_act": ("silu", None),
    "use_sliding_window": (False, None),
    "attention_dropout": (0, 0.0, None),
}
"""Values of config.json under which it describes this architecture; None is an absent key."""


@dataclass(frozen=True, kw_only=True)
class Qwen2Config:
    """Sizes and constants of one model, of Qwen2 (and 2.5) or, with `qk_norm`, of dense Qwen3.

    Hashable, so that it may be static under `jax.jit`.
    """

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
    """Width of one head; even, as rotary embedding turns pairs. Need not be hidden_size / num_heads."""
    qk_norm: bool = False
    """Whether queries and keys pass an RMSNorm over each head, as in Qwen3, instead of having biases."""
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

        Raises ValueError when a size is missing, or when the file asks for what these models do not have:
        another architecture or activation, Qwen3 with biases, sliding windows, scaled rotary embedding.
        """
        if missing := sorted(set(_HF_KEYS.values()) - hf.keys()):
            raise ValueError(f"config.json must give {', '.join(missing)}; add the missing keys")
        qk_norm = _has_qk_norm(hf)
        for key, allowed in _HF_REQUIRED.items():
            if (got := hf.get(key)) not in allowed:
                raise ValueError(f"config.json: {key} must be {allowed[0]!r}; got {got!r}")
        if windowed := set(hf.get("layer_types") or ()) - {"full_attention"}:
            raise ValueError(f"config.json: layer_types must all be 'full_attention'; got {sorted(windowed)}")
        rope = {"rope_theta": hf.get("rope_theta", 1e4)}  # 1e4 is the default of transformers, when absent
        rope |= hf.get("rope_scaling") or {}
        rope |= hf.get("rope_parameters") or {}
        if (kind := rope.get("rope_type", rope.get("type", "default"))) != "default":
            raise ValueError(f"config.json: only plain rotary embedding is supported; got rope type {kind!r}")
        sizes = {ours: int(hf[theirs]) for ours, theirs in _HF_KEYS.items()}
        # The defaults of transformers, when absent.
        default_head_dim = 128 if qk_norm else sizes["hidden_size"] // sizes["num_heads"]
        return cls(
            **sizes,
            head_dim=int(hf.get("head_dim") or default_head_dim),
            qk_norm=qk_norm,
            rope_theta=float(rope["rope_theta"]),
            rms_norm_eps=float(hf.get("rms_norm_eps", 1e-6)),
            tie_embeddings=bool(hf.get("tie_word_embeddings", False)),
            max_positions=int(hf.get("max_position_embeddings", 32_768)),
        )

    def to_hf(self, dtype: str) -> dict[str, Any]:
        """A config.json that `transformers.AutoModelForCausalLM` loads; `dtype` is of the saved weights."""
        model_type, architecture = _FAMILIES[self.qk_norm]
        return {
            "architectures": [architecture],
            "model_type": model_type,
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
        } | ({"attention_bias": False} if self.qk_norm else {})


def _has_qk_norm(hf: dict[str, Any]) -> bool:
    """Whether config.json is of the family with query and key norms; ValueError when it is of neither."""
    types = {model_type: qk_norm for qk_norm, (model_type, _) in _FAMILIES.items()}
    if (got := hf.get("model_type")) not in types:
        raise ValueError(f"config.json: model_type must be {' or '.join(map(repr, types))}; got {got!r}")
    if types[got] and hf.get("attention_bias"):
        raise ValueError("config.json: attention_bias must be False for a Qwen3 model; got True")
    return types[got]


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


def _published_qwen3(num_layers, hidden_size, intermediate_size, num_heads, tied) -> Qwen2Config:
    return Qwen2Config(
        vocab_size=151_936,
        num_layers=num_layers,
        hidden_size=hidden_size,
        intermediate_size=intermediate_size,
        num_heads=num_heads,
        num_kv_heads=8,
        head_dim=128,
        qk_norm=True,
        tie_embeddings=tied,
        max_positions=40_960,
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

QWEN3 = {
    #                            L     D      F   N   tied
    "0.6B": _published_qwen3(   28, 1024,  3072, 16,  True),
    "1.7B": _published_qwen3(   28, 2048,  6144, 16,  True),
    "4B":   _published_qwen3(   36, 2560,  9728, 32,  True),
    "8B":   _published_qwen3(   36, 4096, 12288, 32, False),
    "14B":  _published_qwen3(   40, 5120, 17408, 40, False),
    "32B":  _published_qwen3(   64, 5120, 25600, 64, False),
}
"""The dense models of the Qwen3 release (arXiv 2505.09388), by name."""
# fmt: on

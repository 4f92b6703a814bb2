"""What `bench device` runs: sizes of updates and of decoding."""

from dataclasses import dataclass, replace

from entropy_rl.models.config import QWEN2_5, Qwen2Config
from entropy_rl.models.rematerialization import Rematerialize
from entropy_rl.training.layout import Layout, Packed, Padded
from entropy_rl.training.optimizer import AdamW


@dataclass(frozen=True, kw_only=True)
class UpdateLoad:
    """One optimiser update of one mini-batch, which is one micro-batch."""

    num_prompts: int
    num_samples: int
    num_prompt_tokens: int
    num_new_tokens: int
    rematerialize: Rematerialize = "dots"
    optimizer: AdamW = AdamW()
    layout: Layout = Padded()

    @property
    def num_sequences(self) -> int:
        """Responses of the mini-batch."""
        return self.num_prompts * self.num_samples

    def packed(self, tokens_per_row: int) -> "UpdateLoad":
        """The same on rows of so many tokens, each prompt run with every response."""
        tokens = self.num_sequences * (self.num_prompt_tokens + self.num_new_tokens)
        rows = -(-tokens // tokens_per_row)
        layout = Packed(
            tokens_per_device=rows * tokens_per_row, tokens_per_row=tokens_per_row, num_smaller_shapes=0
        )
        return replace(self, layout=layout)


@dataclass(frozen=True, kw_only=True)
class DecodeLoad:
    """The last `num_timed` steps of a wave."""

    num_prompts: int
    num_samples: int
    num_prompt_tokens: int
    num_new_tokens: int
    num_timed: int

    @property
    def num_sequences(self) -> int:
        """Responses of the wave."""
        return self.num_prompts * self.num_samples

    @property
    def mean_reached(self) -> float:
        """Generated tokens that a step reads, its own included, on average over those timed."""
        return self.num_new_tokens - 1 - (self.num_timed - 1) / 2


@dataclass(frozen=True, kw_only=True)
class DeviceWorkload:
    """All rows of a table."""

    shapes: dict[str, Qwen2Config]
    updates: dict[str, UpdateLoad]
    """By shape; of padded rows."""
    tokens_per_row: int
    """Of the same updates on packed rows, all in one micro-batch; a multiple of a sequence's tokens."""
    decodes: tuple[DecodeLoad, ...]
    product_sizes: tuple[int, ...]
    """Sides of the square matrices whose products measure the matrix rate."""
    copy_bytes: int


_TINY = Qwen2Config(
    vocab_size=64,
    num_layers=2,
    hidden_size=32,
    intermediate_size=64,
    num_heads=4,
    num_kv_heads=2,
    head_dim=8,
)
_HALF = AdamW(first_moment_dtype="bfloat16", second_moment_dtype="bfloat16")

WORKLOADS = {
    "qwen2.5": DeviceWorkload(
        shapes={name: QWEN2_5[name] for name in ("0.5B", "1.5B", "7B")},
        updates={
            "0.5B": UpdateLoad(num_prompts=4, num_samples=8, num_prompt_tokens=128, num_new_tokens=896),
            "1.5B": UpdateLoad(num_prompts=2, num_samples=8, num_prompt_tokens=128, num_new_tokens=896),
            "7B": UpdateLoad(
                num_prompts=1, num_samples=8, num_prompt_tokens=128, num_new_tokens=896, optimizer=_HALF
            ),
        },
        decodes=tuple(
            DecodeLoad(
                num_prompts=num_prompts,
                num_samples=8,
                num_prompt_tokens=512,
                num_new_tokens=1025,
                num_timed=512,
            )
            for num_prompts in (1, 8, 32)
        ),
        tokens_per_row=4096,
        product_sizes=(4096, 8192, 16_384),
        copy_bytes=4 << 30,
    ),
    "smoke": DeviceWorkload(
        shapes={"tiny": _TINY},
        updates={
            "tiny": UpdateLoad(
                num_prompts=1, num_samples=2, num_prompt_tokens=4, num_new_tokens=8, optimizer=_HALF
            )
        },
        decodes=(
            DecodeLoad(num_prompts=1, num_samples=2, num_prompt_tokens=4, num_new_tokens=140, num_timed=5),
        ),
        tokens_per_row=24,
        product_sizes=(128,),
        copy_bytes=1 << 20,
    ),
}
"""qwen2.5 is sized for one GPU of 141 GB; smoke is for any machine, in seconds."""

"""The settings of a sampler."""

from dataclasses import dataclass

from entropy_rl.models.policy import Policy
from entropy_rl.parallelism import axes_of, num_shards
from entropy_rl.sampler.draw import Sampling


@dataclass(frozen=True, kw_only=True)
class SamplerSettings:
    """What a sampler is to do. Frozen and hashable, so that it is static under `jax.jit`."""

    policy: Policy
    """The model, and the mesh it lies on."""
    sampling: Sampling
    """How a token is drawn."""
    stop_ids: tuple[int, ...]
    """Any of these token ids ends a response, and is its last token."""
    pad_id: int
    """Fills responses after their end."""
    num_samples: int
    """G, responses to each prompt."""
    max_new_tokens: int
    """Longest response, its stop token included."""
    prompts_per_wave: int | None = None
    """Prompts sampled together, which bounds the memory of keys and values; None samples all at once. The
    tokens do not depend on it."""
    tokens_per_call: int = 512
    """Most tokens of a response that one call to the devices decodes. After each the host may look and may
    stop, since all rows have ended or since the machine is about to be taken away. No token depends on it."""
    watches_logits: bool = False
    """Whether sums are kept of what the logits look like (`LogitHealth`). No token depends on it."""

    def __post_init__(self):
        if min(self.max_new_tokens, self.num_samples, self.tokens_per_call) < 1:
            raise ValueError(
                "max_new_tokens, num_samples and tokens_per_call must be at least 1, got "
                f"{self.max_new_tokens}, {self.num_samples} and {self.tokens_per_call}"
            )
        outside = [i for i in self.stop_ids if not 0 <= i < self.policy.config.vocab_size]
        if outside:
            raise ValueError(
                f"stop ids must be below the vocabulary size {self.policy.config.vocab_size}, got {outside}"
            )
        shards = num_shards(self.policy.mesh, "batch")
        if self.prompts_per_wave is not None and (
            self.prompts_per_wave < 1 or self.prompts_per_wave % shards
        ):
            axes = " * ".join(f"mesh.{axis}" for axis in axes_of("batch"))
            raise ValueError(
                f"prompts_per_wave must be a positive multiple of {axes} = {shards}, got "
                f"{self.prompts_per_wave}"
            )

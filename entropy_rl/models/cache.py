"""Keys and values kept from one pass for the next: those of prompts, and those of tokens being generated."""

from dataclasses import dataclass

import jax
from jaxtyping import Array, Bool, Float, Int32


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Prefix:
    """Prompts after their one pass through the model, shared by all samples of each prompt."""

    k_LPKSH: Float[Array, "L P K S H"]
    v_LPKSH: Float[Array, "L P K S H"]
    mask_PS: Bool[Array, "P S"]
    """True at real tokens; the padding is on the left."""
    length_P: Int32[Array, " P"]
    """Number of real tokens, which is the position of the first token after the prompt."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Cache:
    """Keys and values of the tokens generated so far, C slots a sequence."""

    k_LPKGCH: Float[Array, "L P K G C H"]
    v_LPKGCH: Float[Array, "L P K G C H"]

"""Keys and values kept from one pass for the next: those of prompts, and those of tokens being generated."""

from dataclasses import dataclass

from jax.sharding import AbstractMesh, Mesh
from jaxtyping import Array, Bool, Float, Int32

from entropy_rl.parallelism import constrain
from entropy_rl.types import tree_of_arrays

_PROMPT_KEYS = ("layers", "batch", "kv_heads", None, "head_dim")
_KEYS = ("layers", "batch", "kv_heads", None, None, "head_dim")


@tree_of_arrays
@dataclass(frozen=True, kw_only=True)
class Prefix:
    """Prompts after their one pass through the model, shared by all samples of each prompt."""

    k_LPKSH: Float[Array, "L P K S H"]
    v_LPKSH: Float[Array, "L P K S H"]
    mask_PS: Bool[Array, "P S"]
    """True at real tokens; the padding is on the left."""
    length_P: Int32[Array, " P"]
    """Number of real tokens, which is the position of the first token after the prompt."""

    def constrained(self, mesh: Mesh | AbstractMesh | None) -> "Prefix":
        """Cut by prompts and heads, under `jit`."""
        return Prefix(
            k_LPKSH=constrain(self.k_LPKSH, _PROMPT_KEYS, mesh),
            v_LPKSH=constrain(self.v_LPKSH, _PROMPT_KEYS, mesh),
            mask_PS=constrain(self.mask_PS, ("batch", None), mesh),
            length_P=constrain(self.length_P, ("batch",), mesh),
        )


@tree_of_arrays
@dataclass(frozen=True, kw_only=True)
class Cache:
    """Keys and values of the tokens generated so far, C slots a sequence."""

    k_LPKGCH: Float[Array, "L P K G C H"]
    v_LPKGCH: Float[Array, "L P K G C H"]

    def constrained(self, mesh: Mesh | AbstractMesh | None) -> "Cache":
        """Cut by prompts and heads, under `jit`."""
        return Cache(
            k_LPKGCH=constrain(self.k_LPKGCH, _KEYS, mesh), v_LPKGCH=constrain(self.v_LPKGCH, _KEYS, mesh)
        )

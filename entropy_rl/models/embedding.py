"""Rows of an embedding cut over a mesh: each device looks up what it holds, and tokens' states travel.

The embedding [V, D] lies cut by vocabulary over tensor and by width over fsdp, the tokens cut by rows over
data and fsdp. Left to itself XLA would bring whole tables, or all tokens' states, to every device.
"""

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from entropy_rl.parallelism import SAMPLING_RULES, TRAINING_RULES, spec_of


def embed(
    embedding_VD: Float[Array, "V D"],
    tokens_BT: Int[Array, "B T"],
    dtype,
    mesh: Mesh | None,
    *,
    whole: bool = False,
) -> Float[Array, "B T D"]:
    """The rows of these tokens, cast to `dtype`. On a mesh they lie as what passes between layers does.

    `whole` tells that the embedding is not cut over fsdp, as the sampler's is not.
    """
    if mesh is None:
        return embedding_VD[tokens_BT].astype(dtype)
    rules = SAMPLING_RULES if whole else TRAINING_RULES
    even = tokens_BT.shape[1] % mesh.shape["tensor"] == 0

    def local(embedding_VD, tokens_BT):
        if not whole:
            tokens_BT = jax.lax.all_gather(tokens_BT, "fsdp", tiled=True)
        row_BT = tokens_BT - jax.lax.axis_index("tensor") * embedding_VD.shape[0]
        is_here_BT = (row_BT >= 0) & (row_BT < embedding_VD.shape[0])
        x_BTD = embedding_VD.at[row_BT].get(mode="clip").astype(dtype)
        # One device has the row and all others have zeros: no dtype can round such a sum.
        x_BTD = jnp.where(is_here_BT[:, :, None], x_BTD, 0)
        if even:
            x_BTD = jax.lax.psum_scatter(x_BTD, "tensor", scatter_dimension=1, tiled=True)
        else:
            x_BTD = jax.lax.psum(x_BTD, "tensor")
        if not whole:
            x_BTD = jax.lax.all_to_all(x_BTD, "fsdp", split_axis=0, concat_axis=2, tiled=True)
        return x_BTD

    return jax.shard_map(
        local,
        mesh=mesh,
        in_specs=(spec_of(("vocab", "embed"), rules), spec_of(("batch", None))),
        out_specs=spec_of(("batch", "positions" if even else None, None)),
    )(embedding_VD, tokens_BT)

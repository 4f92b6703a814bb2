"""Rows of an embedding cut over a mesh: each device looks up what it holds, and tokens' states travel.

By the table the embedding [V, D] lies cut by vocabulary over one mesh axis and by width over another, which
also cuts the rows of tokens. Left to itself XLA would bring whole tables, or all tokens' states, to every
device.
"""

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, Mesh
from jaxtyping import Array, Float, Int

from entropy_rl.parallelism import TRAINING_RULES, MeshConfig, Rules, axes_of, num_shards, spec_of


def residual_axes(
    num_tokens: int, mesh: Mesh | AbstractMesh | MeshConfig | None, rules: Rules = TRAINING_RULES
) -> tuple[str | None, ...]:
    """Logical axes of what passes between layers, [B, T, D]: positions are cut where that is even."""
    return ("batch", None if num_tokens % num_shards(mesh, "positions", rules) else "positions", None)


def embed(
    embedding_VD: Float[Array, "V D"],
    tokens_BT: Int[Array, "B T"],
    dtype,
    mesh: Mesh | AbstractMesh | None,
    rules: Rules = TRAINING_RULES,
) -> Float[Array, "B T D"]:
    """The rows of these tokens, cast to `dtype`. On a mesh they lie as what passes between layers does.

    `rules` tell how the embedding lies. Raises ValueError where they cut it over axes that cannot be served:
    the vocabulary over those of the tokens, or the width over others.
    """
    if mesh is None:
        return embedding_VD[tokens_BT].astype(dtype)
    rows, vocabulary, width = (axes_of(name, rules) for name in ("batch", "vocab", "embed"))
    if set(vocabulary) & set(rows) or set(width) - set(rows):
        raise ValueError(
            "an embedding may be cut by width over mesh axes that cut tokens, and by vocabulary over "
            f"others; got tokens over {rows}, vocab over {vocabulary} embed over {width}; change the table"
        )
    axes = residual_axes(tokens_BT.shape[1], mesh, rules)
    scattered = axes_of(axes[1], rules) == vocabulary
    if not scattered:
        axes = ("batch", None, None)

    def local(embedding_VD, tokens_BT):
        for axis in width:
            tokens_BT = jax.lax.all_gather(tokens_BT, axis, tiled=True)
        if not vocabulary:
            x_BTD = embedding_VD[tokens_BT].astype(dtype)
        else:
            row_BT = tokens_BT - jax.lax.axis_index(vocabulary) * embedding_VD.shape[0]
            is_here_BT = (row_BT >= 0) & (row_BT < embedding_VD.shape[0])
            x_BTD = embedding_VD.at[row_BT].get(mode="clip").astype(dtype)
            # One device has the row and all others have zeros: no dtype can round such a sum.
            x_BTD = jnp.where(is_here_BT[:, :, None], x_BTD, 0)
            if scattered:
                x_BTD = jax.lax.psum_scatter(x_BTD, vocabulary, scatter_dimension=1, tiled=True)
            else:
                x_BTD = jax.lax.psum(x_BTD, vocabulary)
        for axis in reversed(width):
            x_BTD = jax.lax.all_to_all(x_BTD, axis, split_axis=0, concat_axis=2, tiled=True)
        return x_BTD

    return jax.shard_map(
        local,
        mesh=mesh,
        in_specs=(spec_of(("vocab", "embed"), rules), spec_of(("batch", None), rules)),
        out_specs=spec_of(axes, rules),
    )(embedding_VD, tokens_BT)

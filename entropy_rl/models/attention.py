"""The arithmetic of attention: pure functions of arrays.

A query may see two blocks of keys: those of its own sequence, and those of the prompt which its sequence
shares with the other samples of its group. The blocks keep their own shapes to the end: keys and values are
repeated neither for the samples of a prompt nor for the query heads of a key-value head.

Inside, heads come before tokens: queries are [P, K, G, Q, H], where Q runs over the R = N / K query heads of
a key-value head and their T tokens. So the products with the own keys, batched over P, K and G, and those
with the prompt's, batched over P and K, both read the one array as it lies. U is the number of own keys.

Scores and their softmax are f32 whatever the dtype of the inputs.
"""

from collections.abc import Sequence
from functools import reduce

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

MASKED = -1e30
"""Score of a key that must not be seen. Finite, so that a query that sees no key at all gives no NaN."""


def rope_angles(positions_BT: Int[Array, "B T"], head_dim: int, theta: float) -> tuple[Array, Array]:
    """Cosine and sine [B, T, H/2] of the rotary embedding (arXiv 2104.09864), f32."""
    frequency = 1 / np.float32(theta) ** (np.arange(0, head_dim, 2, dtype=np.float32) / head_dim)
    angle = positions_BT[..., None].astype(jnp.float32) * frequency[None, None, :]
    return jnp.cos(angle), jnp.sin(angle)


def rotate(x_BTNH: Float[Array, "B T N H"], rope: tuple[Array, Array]) -> Float[Array, "B T N H"]:
    """Turns each pair (x[i], x[i + H/2]) by its angle, in f32."""
    cos, sin = (angle[:, :, None, :] for angle in rope)
    first, second = jnp.split(x_BTNH.astype(jnp.float32), 2, axis=-1)
    turned = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return turned.astype(x_BTNH.dtype)


def by_head(x_BTKH: Float[Array, "B T K H"], num_prompts: int) -> Float[Array, "P K G T H"]:
    """Keys or values as attention reads and caches keep them; row b belongs to prompt b // G."""
    B, T, K, H = x_BTKH.shape
    return x_BTKH.reshape(num_prompts, B // num_prompts, T, K, H).transpose(0, 3, 1, 2, 4)


def attend(
    q_BTNH: Float[Array, "B T N H"],
    k_PKGUH: Float[Array, "P K G U H"],
    v_PKGUH: Float[Array, "P K G U H"],
    mask_PTU: Bool[Array, "#P T U"],
    prefix: tuple[Array, Array, Array] | None = None,
    past: Sequence[tuple[Array, Array]] = (),
) -> Float[Array, "B T N H"]:
    """Softmax attention over the own keys and, when given, over a shared prefix (k_PKSH, v_PKSH, mask_PS).

    `past` is more own keys and values [P, K, G, C, H], block by block, that every query sees in full. Row b
    belongs to prompt b // G. A query that sees no key gets some finite value.
    """
    B, T, N, H = q_BTNH.shape
    P, K, G = k_PKGUH.shape[:3]
    R = N // K
    q_PGTKRH = (q_BTNH * H**-0.5).reshape(P, G, T, K, R, H)
    q_PKGQH = q_PGTKRH.transpose(0, 3, 1, 4, 2, 5).reshape(P, K, G, R * T, H)
    own = _scores("PKGQH,PKGUH->PKGQU", q_PKGQH, k_PKGUH, jnp.tile(mask_PTU, (1, R, 1))[:, None, None])
    blocks = [(own, v_PKGUH, _mixed)]
    blocks += [(_scores("PKGQH,PKGUH->PKGQU", q_PKGQH, k), v, _mixed) for k, v in past]
    if prefix is not None:
        k_PKSH, v_PKSH, mask_PS = prefix
        # All queries of a prompt meet its keys in one product.
        q_PKQH = q_PKGQH.reshape(P, K, G * R * T, H)
        shared = _scores("PKQH,PKSH->PKQS", q_PKQH, k_PKSH, mask_PS[:, None, None])
        blocks.append((shared.reshape(*q_PKGQH.shape[:-1], -1), v_PKSH, _mixed_by_all))
    peak = reduce(jnp.maximum, [_peak(scores) for scores, _, _ in blocks])
    weights = [jnp.exp(scores - peak) for scores, _, _ in blocks]
    total = reduce(jnp.add, [weight.sum(-1, keepdims=True) for weight in weights])
    mixed = [mix(weight, v) for weight, (_, v, mix) in zip(weights, blocks, strict=True)]
    out_PKGQH = reduce(jnp.add, mixed) / total
    out_PKGRTH = out_PKGQH.reshape(P, K, G, R, T, H)
    return out_PKGRTH.transpose(0, 2, 4, 1, 3, 5).reshape(B, T, N, H).astype(q_BTNH.dtype)


def _scores(equation, q, k, mask=None):
    scores = jnp.einsum(equation, q, k, preferred_element_type=jnp.float32)
    return scores if mask is None else jnp.where(mask, scores, MASKED)


def _mixed(weight_PKGQU, v_PKGUH):
    return _product("PKGQU,PKGUH->PKGQH", weight_PKGQU, v_PKGUH)


def _mixed_by_all(weight_PKGQS, v_PKSH):
    P, K, G, Q, S = weight_PKGQS.shape
    return _product("PKQS,PKSH->PKQH", weight_PKGQS.reshape(P, K, G * Q, S), v_PKSH).reshape(P, K, G, Q, -1)


def _product(equation, weight, v):
    return jnp.einsum(equation, weight.astype(v.dtype), v, preferred_element_type=jnp.float32)


def _peak(scores):
    return jax.lax.stop_gradient(scores.max(-1, keepdims=True))

"""The arithmetic of attention: pure functions of arrays.

A query may see two blocks of keys: those of its own sequence, and those of the prompt which its sequence
shares with the other samples of its group. The blocks keep their own shapes to the end: keys and values are
repeated neither for the samples of a prompt nor for the query heads of a key-value head. R is the number of
query heads a key-value head serves (N = K * R), U the number of own keys, Q = G * T the queries a prompt has.

Scores and their softmax are f32 whatever the dtype of the inputs.
"""

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


def attend(
    q_BTNH: Float[Array, "B T N H"],
    k_BUKH: Float[Array, "B U K H"],
    v_BUKH: Float[Array, "B U K H"],
    mask_BTU: Bool[Array, "#B T U"],
    prefix: tuple[Array, Array, Array] | None = None,
) -> Float[Array, "B T N H"]:
    """Softmax attention over the own keys and, when given, over a shared prefix (k_PSKH, v_PSKH, mask_PS).

    Row b belongs to prompt b // G. A query that sees no key gets some finite value.
    """
    B, T, N, H = q_BTNH.shape
    K = k_BUKH.shape[2]
    q_BTKRH = (q_BTNH * H**-0.5).reshape(B, T, K, N // K, H)
    own = _scores("BTKRH,BUKH->BKRTU", q_BTKRH, k_BUKH, mask_BTU[:, None, None])
    if prefix is None:
        weight, total = _exponentials(own, _peak(own))
        out_BKRTH = _product("BKRTU,BUKH->BKRTH", weight, v_BUKH) / total
    else:
        k_PSKH, v_PSKH, mask_PS = prefix
        P = mask_PS.shape[0]
        by_prompt = (P, B // P, K, N // K, T)
        q_PQKRH = q_BTKRH.reshape(P, -1, K, N // K, H)
        shared = _scores("PQKRH,PSKH->PKRQS", q_PQKRH, k_PSKH, mask_PS[:, None, None, None])

        def to_rows(x_PKRQx):
            split = x_PKRQx.reshape(P, K, N // K, B // P, T, -1)
            return jnp.moveaxis(split, 3, 1).reshape(B, K, N // K, T, -1)

        def to_prompts(x_BKRT1):
            return jnp.moveaxis(x_BKRT1.reshape(by_prompt), 1, 3).reshape(P, K, N // K, -1, 1)

        peak = jnp.maximum(_peak(own), to_rows(_peak(shared)))
        own_weight, own_total = _exponentials(own, peak)
        shared_weight, shared_total = _exponentials(shared, to_prompts(peak))
        own_out = _product("BKRTU,BUKH->BKRTH", own_weight, v_BUKH)
        shared_out = _product("PKRQS,PSKH->PKRQH", shared_weight, v_PSKH)
        out_BKRTH = (own_out + to_rows(shared_out)) / (own_total + to_rows(shared_total))
    return jnp.moveaxis(out_BKRTH, 3, 1).reshape(B, T, N, H).astype(q_BTNH.dtype)


def _scores(equation, q, k, mask):
    return jnp.where(mask, jnp.einsum(equation, q, k, preferred_element_type=jnp.float32), MASKED)


def _product(equation, weight, v):
    return jnp.einsum(equation, weight.astype(v.dtype), v, preferred_element_type=jnp.float32)


def _peak(scores):
    return jax.lax.stop_gradient(scores.max(-1, keepdims=True))


def _exponentials(scores, peak):
    weight = jnp.exp(scores - peak)
    return weight, weight.sum(-1, keepdims=True)

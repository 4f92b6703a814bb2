"""The public operation."""

from jaxtyping import Array, Float, Int

from pallas_kernels.token_statistics.tiled import tile_width, tiled_statistics


def token_statistics(
    hidden_TD: Float[Array, "T D"],
    head_VD: Float[Array, "V D"],
    label_T: Int[Array, " T"],
    *,
    temperature: float = 1.0,
    max_tile_bytes: int = 32 << 20,
    min_tile_width: int = 512,
) -> tuple[Float[Array, " T"], Float[Array, " T"]]:
    """Log-probability of each label and entropy (nats) of softmax(hidden @ head.T / temperature).

    Both are [T], f32 or wider; gradients flow to `hidden` and `head`. Logits exist only as tiles of [T, C],
    which take at most `max_tile_bytes` but have at least `min_tile_width` columns: every tile reads all of
    `hidden` again.
    """
    width = tile_width(label_T.shape[0], head_VD.shape[0], max_tile_bytes, min_tile_width)
    return tiled_statistics(hidden_TD, head_VD, label_T, 1 / temperature, width)

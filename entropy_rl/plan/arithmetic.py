"""Floating-point operations of the model's passes, from its architecture alone.

Products of matrices are counted, 2 operations a multiply-add, and nothing else: norms, rotary embedding,
softmax and activations are a few per cent of a small model and less of a large one. A test holds the formulas
against XLA's own cost analysis of an unrolled model.
"""

from entropy_rl.models.config import Qwen2Config
from entropy_rl.models.parameters import count


def layer_weights(c: Qwen2Config) -> int:
    """Parameters of one layer that take part in products of matrices."""
    attention = c.hidden_size * c.head_dim * 2 * (c.num_heads + c.num_kv_heads)
    return attention + 3 * c.hidden_size * c.intermediate_size


def num_read(c: Qwen2Config) -> int:
    """Parameters that a pass reads whole: of an embedding that is no head, only rows are looked up."""
    return count(c) - (0 if c.tie_embeddings else c.vocab_size * c.hidden_size)


def kv_size(c: Qwen2Config) -> int:
    """Numbers that a cache keeps of one token."""
    return 2 * c.num_layers * c.num_kv_heads * c.head_dim


def layers_flops(c: Qwen2Config, tokens: float, pairs: float) -> float:
    """Forward pass of all layers; `pairs` of queries and keys, of each head."""
    return c.num_layers * (2.0 * layer_weights(c) * tokens + 4.0 * c.num_heads * c.head_dim * pairs)


def head_flops(c: Qwen2Config, tokens: float) -> float:
    """Logits of the whole vocabulary, once."""
    return 2.0 * c.vocab_size * c.hidden_size * tokens


def gradient_flops(
    c: Qwen2Config, tokens: float, pairs: float, *, again: bool, scores_again: bool = True
) -> float:
    """Forward and backward pass and token statistics of all tokens.

    `again`: the backward pass computes every layer again, all but its last product, which nothing needs.
    `scores_again`: attention's backward pass computes its scores again, as kernels do; plain XLA keeps them.
    The statistics compute their logits twice.
    """
    weights = 3 * layer_weights(c)
    attention_products = 2 + 4 + scores_again
    if again:
        weights += layer_weights(c) - c.hidden_size * c.intermediate_size
        attention_products += 2
    of_layer = 2.0 * weights * tokens + 2.0 * attention_products * c.num_heads * c.head_dim * pairs
    return c.num_layers * of_layer + 4 * head_flops(c, tokens)

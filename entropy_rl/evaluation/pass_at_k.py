"""pass@k without bias (arXiv 2107.03374, Eq. 1)."""

import numpy as np
from jaxtyping import Bool, Float64


def ks_up_to(num_samples: int) -> tuple[int, ...]:
    """The k that are reported of so many samples: powers of two, and all of them."""
    return (*(1 << i for i in range((num_samples - 1).bit_length())), num_samples)


def pass_at_k(correct_PG: Bool[np.ndarray, "P G"], k: int) -> float:
    """`pass_at_k_P`, averaged over prompts."""
    return float(pass_at_k_P(correct_PG, k).mean())


def pass_at_k_P(correct_PG: Bool[np.ndarray, "P G"], k: int) -> Float64[np.ndarray, " P"]:
    """Probability that at least one of k samples, drawn without replacement from the G, is right.

    With c right among G: 1 - C(G - c, k) / C(G, k). Raises ValueError unless 1 <= k <= G.
    """
    num_samples = correct_PG.shape[1]
    if not 1 <= k <= num_samples:
        raise ValueError(f"pass@k needs 1 <= k <= the {num_samples} samples of a prompt, got k={k}")
    num_wrong_P = num_samples - correct_PG.sum(axis=1)
    # C(n - c, k) / C(n, k) as a product of k factors: no factorial ever overflows.
    factors_Pk = (num_wrong_P[:, None] - np.arange(k)) / (num_samples - np.arange(k))
    return 1 - np.prod(np.clip(factors_Pk, 0, None), axis=1)

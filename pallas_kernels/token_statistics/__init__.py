"""Log-probability and entropy of each token from hidden states and an output head, without logits."""

from pallas_kernels.token_statistics.implementation import Implementation
from pallas_kernels.token_statistics.mosaic import Mosaic
from pallas_kernels.token_statistics.ops import token_statistics
from pallas_kernels.token_statistics.reference import statistics_of_logits, token_statistics_reference
from pallas_kernels.token_statistics.tiled import XLATiles
from pallas_kernels.token_statistics.triton import Triton

__all__ = [
    "Implementation",
    "Mosaic",
    "Triton",
    "XLATiles",
    "statistics_of_logits",
    "token_statistics",
    "token_statistics_reference",
]

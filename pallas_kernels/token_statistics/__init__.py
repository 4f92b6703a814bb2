"""Log-probability and entropy of each token from hidden states and an output head."""

from pallas_kernels.token_statistics.ops import Chunked, Materialized, token_statistics
from pallas_kernels.token_statistics.reference import statistics_of_logits, token_statistics_reference

__all__ = [
    "Chunked",
    "Materialized",
    "statistics_of_logits",
    "token_statistics",
    "token_statistics_reference",
]

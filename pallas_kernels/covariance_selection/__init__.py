"""Exact choice of tokens by covariance, the same for any order, split or placement of the tokens."""

from pallas_kernels.covariance_selection.histogram import Histogram, XLAHistogram
from pallas_kernels.covariance_selection.histogram_mosaic import MosaicHistogram
from pallas_kernels.covariance_selection.ops import (
    Choice,
    CovarianceSelector,
    Distribution,
    TokenIdentity,
)

__all__ = [
    "Choice",
    "CovarianceSelector",
    "Distribution",
    "Histogram",
    "MosaicHistogram",
    "TokenIdentity",
    "XLAHistogram",
]

"""The mathematics of the paper (arXiv 2505.22617): arrays in, arrays out, nothing else.

In reading order:

    numerics     masked sums and means, log-ratios
    advantages   rewards of a group of responses -> advantages
    quota        exact number of tokens that a fraction selects
    selection    what was selected, and the scope it was selected in
    losses       PPOClip, ClipCov, KLCov: the objectives
    aggregation  token losses -> one loss
    entropy_bonus  the coefficient of entropy: static, decaying, or adapted to a target
    divergences  KL estimators; entropy and KL terms
    diagnostics  metrics of all of these
    theory       what moves entropy: Lemma 1, Theorems 1 and 2

The covariance of each token and the exact choice by it are `pallas_kernels.covariance_selection`.
"""

from entropy_rl.objectives.advantages import GroupAdvantage
from entropy_rl.objectives.aggregation import (
    Aggregation,
    SequenceMeanTokenMean,
    SequenceMeanTokenSum,
    SequenceMeanTokenSumNorm,
    TokenMean,
)
from entropy_rl.objectives.diagnostics import (
    clip_fractions,
    entropy_deciles,
    entropy_distribution,
    entropy_metrics,
    ratio_metrics,
    selection_metrics,
    surprisal_metrics,
)
from entropy_rl.objectives.divergences import K1, K2, K3, CoefficientOfStep, Divergence, Regularizer
from entropy_rl.objectives.entropy_bonus import (
    DecayingEntropyBonus,
    EntropyBonus,
    StaticEntropyBonus,
    TargetEntropyBonus,
)
from entropy_rl.objectives.losses import ClipCov, KLCov, PolicyObjective, PPOClip
from entropy_rl.objectives.numerics import as_float, log_ratio, masked_mean, masked_sum
from entropy_rl.objectives.quota import exact_quota
from entropy_rl.objectives.selection import MicrobatchScope, MinibatchScope, Scope, Selection
from entropy_rl.objectives.theory import bandit_covariances, entropy_of_logits, lemma1_change

__all__ = [
    "Aggregation",
    "ClipCov",
    "CoefficientOfStep",
    "DecayingEntropyBonus",
    "Divergence",
    "EntropyBonus",
    "GroupAdvantage",
    "K1",
    "K2",
    "K3",
    "KLCov",
    "MicrobatchScope",
    "MinibatchScope",
    "PPOClip",
    "PolicyObjective",
    "Regularizer",
    "Scope",
    "Selection",
    "SequenceMeanTokenMean",
    "SequenceMeanTokenSum",
    "SequenceMeanTokenSumNorm",
    "StaticEntropyBonus",
    "TargetEntropyBonus",
    "TokenMean",
    "as_float",
    "bandit_covariances",
    "clip_fractions",
    "entropy_deciles",
    "entropy_distribution",
    "entropy_metrics",
    "entropy_of_logits",
    "exact_quota",
    "lemma1_change",
    "log_ratio",
    "masked_mean",
    "masked_sum",
    "ratio_metrics",
    "selection_metrics",
    "surprisal_metrics",
]

"""Slow and obvious versions of the objectives: loops over python floats, one token at a time."""

import math
import statistics
from fractions import Fraction

import jax
import jax.numpy as jnp
from jax.extend.random import threefry_2x32


def tokens(mask):
    """Indices (i, t) of the valid tokens in reading order."""
    return [(i, t) for i, row in enumerate(mask) for t, valid in enumerate(row) if valid]


def group_advantage(rewards, *, normalize_by_std, eps):
    if len(rewards) == 1:
        mean, std = 0.0, 1.0
    else:
        mean, std = statistics.fmean(rewards), statistics.stdev(rewards)
    return [(reward - mean) / (std + eps) if normalize_by_std else reward - mean for reward in rewards]


def quota(fraction, num_tokens, *, at_least_one):
    k = math.floor(Fraction(str(fraction)) * num_tokens)
    return max(k, 1) if at_least_one and num_tokens > 0 else k


def covariance(adv, logp, mask):
    """{(i, t): covariance} of the valid tokens."""
    valid = tokens(mask)
    if not valid:
        return {}
    mean_adv = statistics.fmean(float(adv[i, t]) for i, t in valid)
    mean_logp = statistics.fmean(float(logp[i, t]) for i, t in valid)
    return {(i, t): (float(adv[i, t]) - mean_adv) * (float(logp[i, t]) - mean_logp) for i, t in valid}


def largest(score, eligible, k, sequence_id):
    """Indices of the k largest finite scores; ties by (sequence id, position)."""
    finite = [(i, t) for i, t in tokens(eligible) if math.isfinite(score[i, t])]
    return set(sorted(finite, key=lambda it: (-float(score[it]), int(sequence_id[it[0]]), it[1]))[:k])


def uniform(eligible, k, sequence_id, key):
    """Indices of the k eligible tokens that drew the smallest numbers."""

    def draw(i, t):
        counter = jnp.array([int(sequence_id[i]) % 2**32, t], jnp.uint32)
        return int(threefry_2x32(jax.random.key_data(key), counter)[0])

    return set(sorted(tokens(eligible), key=lambda it: (draw(*it), int(sequence_id[it[0]]), it[1]))[:k])


def surrogates(d, adv, eps_low, eps_high):
    ratio = math.exp(d)
    return -adv * ratio, -adv * min(max(ratio, 1 - eps_low), 1 + eps_high)


def ppo_clip(d, adv, *, eps_low, eps_high, dual_clip):
    d = min(max(d, -20.0), 20.0)
    loss = max(surrogates(d, adv, eps_low, eps_high))
    return min(loss, -adv * dual_clip) if adv < 0 and dual_clip is not None else loss


def clip_cov(d, adv, selected, *, eps_low, eps_high):
    return 0.0 if selected else max(surrogates(d, adv, eps_low, eps_high))


def kl_cov(d, adv, selected, *, penalty_coef):
    return -adv * math.exp(d) + (penalty_coef * abs(d) if selected else 0.0)


def clip_cov_candidates(adv, logp, old_logp, mask, *, cov_low, cov_high, eps_low, eps_high):
    chosen = set()
    for (i, t), value in covariance(adv, logp, mask).items():
        plain, clipped = surrogates(
            float(logp[i, t]) - float(old_logp[i, t]), float(adv[i, t]), eps_low, eps_high
        )
        if cov_low < value < cov_high and not clipped > plain:
            chosen.add((i, t))
    return chosen


def aggregate(mode, loss, mask, length=None):
    """The average of token losses; `mode` is the name of the class."""
    rows = [
        [float(x) for x, valid in zip(*row, strict=True) if valid] for row in zip(loss, mask, strict=True)
    ]
    rows = [row for row in rows if row]
    if not rows:
        return 0.0
    if mode == "TokenMean":
        return statistics.fmean(sum(rows, []))
    if mode == "SequenceMeanTokenSum":
        return sum(map(sum, rows)) / len(rows)
    if mode == "SequenceMeanTokenMean":
        return statistics.fmean(statistics.fmean(row) for row in rows)
    if mode == "SequenceMeanTokenSumNorm":
        return sum(map(sum, rows)) / len(rows) / (len(mask[0]) if length is None else length)
    raise AssertionError(mode)


def divergence(mode, x):
    """KL estimate of one token, x = logp - ref_logp; `mode` is the name of the class."""
    if mode == "K1":
        return x
    if mode == "K2":
        return x * x / 2
    y = min(max(-x, -20.0), 20.0)
    return min(max(math.exp(y) - y - 1, -10.0), 10.0)


def covariance_under(p, x, y):
    mean_x = sum(p_a * x_a for p_a, x_a in zip(p, x, strict=True))
    mean_y = sum(p_a * y_a for p_a, y_a in zip(p, y, strict=True))
    return sum(p_a * (x_a - mean_x) * (y_a - mean_y) for p_a, x_a, y_a in zip(p, x, y, strict=True))


def lemma1_change(before, after):
    """Of the logits of one state under two policies."""
    top = max(before)
    log_total = top + math.log(sum(math.exp(z - top) for z in before))
    logp = [z - log_total for z in before]
    change = [a - b for a, b in zip(after, before, strict=True)]
    return -covariance_under([math.exp(x) for x in logp], logp, change)


def bandit_covariances(logp, mask, adv):
    """(Theorem 1's, Theorem 2's): mean over the groups that have tokens, whose responses count alike."""
    pairs = []
    for group_logp, group_mask, group_adv in zip(logp, mask, adv, strict=True):
        if not any(any(valid) for valid in group_mask):
            continue
        responses = zip(group_logp, group_mask, strict=True)
        mean_logp = [
            statistics.fmean(x for x, valid in zip(*response, strict=True) if valid) for response in responses
        ]
        alike = [1 / len(mean_logp)] * len(mean_logp)
        scaled_adv = [math.exp(x) * a for x, a in zip(mean_logp, group_adv, strict=True)]
        pairs.append([covariance_under(alike, mean_logp, other) for other in (scaled_adv, group_adv)])
    return [statistics.fmean(values) for values in zip(*pairs, strict=True)]

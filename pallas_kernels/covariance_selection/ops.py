"""The public operation: token covariances, what telemetry wants of them, and the exact choice of tokens."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import Array, Bool, Float, Int, Int32, Key

from pallas_kernels.covariance_selection.descent import Descent, Ranked
from pallas_kernels.covariance_selection.exact_sum import masked_means
from pallas_kernels.covariance_selection.histogram import Histogram, XLAHistogram
from pallas_kernels.covariance_selection.keys import float_keys, keys_to_float, only, without_subnormals
from pallas_kernels.covariance_selection.reduction import Reduction
from pallas_kernels.covariance_selection.token_bits import key_words, token_bits
from pallas_kernels.sharding import Shards


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Distribution:
    """Scores of tokens, and how they are distributed over the finite ones under a mask."""

    score_BT: Float[Array, "B T"]
    """0 where masked, nan where an input or the product is not finite; never subnormal."""
    mean: Float[Array, ""]
    quantiles_Q: Float[Array, " Q"]
    """For each q the entry number floor(q * (N - 1)) in ascending order, counted from 0; 0 if N = 0."""
    top_means_S: Float[Array, " S"]
    """For each share s the mean of the floor(s * N) largest, or of the one largest if that is 0; 0 if
    N = 0."""
    num_nonfinite: Int32[Array, ""]
    """Tokens under the mask whose score is not finite: they are in no mean or quantile of scores."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Choice(Distribution):
    """The covariances, the chosen tokens, and those among which they were chosen."""

    selected_BT: Bool[Array, "B T"]
    candidate_BT: Bool[Array, "B T"]
    num_candidates: Int32[Array, ""]
    num_selected: Int32[Array, ""]
    num_selected_positive: Int32[Array, ""]
    """Selected tokens with x > 0."""
    num_selected_negative: Int32[Array, ""]
    """Selected tokens with x < 0."""


@dataclass(frozen=True, kw_only=True)
class TokenIdentity:
    """What a token is called wherever it lies: (sequence id, position), a pair of 32-bit integers.

    No two tokens under the mask may share a pair. This is not checked.
    """

    sequence_id: Int[Array, "#B #T"]
    position: Int[Array, "#B #T"]

    @classmethod
    def of_rows(cls, sequence_id_B: Int[Array, " B"], num_positions: int) -> "TokenIdentity":
        """Of rows that hold a sequence each, from its first position on."""
        position_1T = jnp.arange(num_positions, dtype=jnp.int32)[None]
        return cls(sequence_id=sequence_id_B[:, None], position=position_1T)


@dataclass(frozen=True, kw_only=True)
class CovarianceSelector:
    """Exact selection by (x - mean x)(y - mean y) in O(N): no sort, no gather of tokens. Static under jit.

    Given the same values for the same identities, every result is the same bit by bit for any order of the
    rows, any padding and any number of devices. Scores are f32; wider inputs are rounded first. Zeros and
    subnormals are one value. Tokens whose x or y is not finite are left out of everything; those of which
    only the product overflows are in the means of x and y, and in nothing else. Both kinds are counted.
    """

    histogram: Histogram = XLAHistogram()
    shards: Shards | None = None
    """Cuts the rows B over `shards.tokens`, which must divide them; no token leaves its device."""

    def covariance(
        self,
        x_BT: Float[Array, "B T"],
        y_BT: Float[Array, "B T"],
        mask_BT: Bool[Array, "B T"],
        *,
        quantiles: tuple[float, ...],
        top_shares: tuple[float, ...] = (),
    ) -> Distribution:
        """The covariance of each token, means over all tokens under the mask, and its distribution."""

        def on_device(reduction, x_BT, y_BT, mask_BT):
            score_BT, _ = _token_covariance(x_BT, y_BT, mask_BT, reduction)
            return self._describe(score_BT, mask_BT, quantiles, top_shares, reduction)[:2]

        by_token, whole = self._distribute(on_device, (x_BT, y_BT, mask_BT))
        return Distribution(**by_token, **whole)

    def distribution(
        self,
        score_BT: Float[Array, "B T"],
        mask_BT: Bool[Array, "B T"],
        *,
        quantiles: tuple[float, ...],
        top_shares: tuple[float, ...] = (),
    ) -> Distribution:
        """The distribution of given scores."""

        def on_device(reduction, score_BT, mask_BT):
            score_BT = without_subnormals(score_BT)
            return self._describe(score_BT, mask_BT, quantiles, top_shares, reduction)[:2]

        by_token, whole = self._distribute(on_device, (score_BT, mask_BT))
        return Distribution(**by_token, **whole)

    def largest(
        self,
        x_BT: Float[Array, "B T"],
        y_BT: Float[Array, "B T"],
        mask_BT: Bool[Array, "B T"],
        *,
        k: Int32[Array, ""],
        identity: TokenIdentity,
        quantiles: tuple[float, ...],
        top_shares: tuple[float, ...] = (),
    ) -> Choice:
        """The k tokens of largest covariance, or all if there are fewer; ties go to the smaller identity.

        Identities must be distinct: tokens that share the last place and the identity are all selected, and
        then there are more than k.
        """

        def on_device(reduction, x_BT, y_BT, mask_BT, sequence_id, position, k):
            score_BT, finite_BT = _token_covariance(x_BT, y_BT, mask_BT, reduction)
            by_token, whole, num_finite, last = self._describe(
                score_BT, mask_BT, quantiles, top_shares, reduction, k
            )
            # In descending order what was below is above.
            num_above = num_finite - last.num_below_R - last.num_equal_R
            last = last._replace(key_R=~last.key_R, num_below_R=num_above)
            selected_BT = self._descent(reduction).first(
                ~float_keys(score_BT), finite_BT, jnp.clip(k, 0, num_finite), last, sequence_id, position
            )
            chosen, counts = _chosen(selected_BT, finite_BT, x_BT, reduction)
            return by_token | chosen, whole | counts

        identities = (identity.sequence_id, identity.position)
        by_token, whole = self._distribute(on_device, (x_BT, y_BT, mask_BT, *identities), k)
        return Choice(**by_token, **whole)

    def uniform(
        self,
        x_BT: Float[Array, "B T"],
        y_BT: Float[Array, "B T"],
        mask_BT: Bool[Array, "B T"],
        *,
        among_BT: Bool[Array, "B T"],
        window: tuple[float, float],
        k: Int32[Array, ""],
        identity: TokenIdentity,
        key: Key[Array, ""],
        quantiles: tuple[float, ...],
        top_shares: tuple[float, ...] = (),
    ) -> Choice:
        """k tokens, or all if there are fewer, drawn without replacement from those of `among` (and the mask)
        whose covariance lies in the open window.

        Each token draws 32 bits that depend on `key` and its identity alone; the k smallest are chosen.
        Identities must be distinct: candidates that share one draw the same bits, are selected together, and
        then there may be more than k.
        """

        def on_device(reduction, x_BT, y_BT, mask_BT, among_BT, sequence_id, position, k, words):
            score_BT, finite_BT = _token_covariance(x_BT, y_BT, mask_BT, reduction)
            by_token, whole, *_ = self._describe(score_BT, mask_BT, quantiles, top_shares, reduction)
            candidate_BT = finite_BT & among_BT & (window[0] < score_BT) & (score_BT < window[1])
            k = jnp.clip(k, 0, reduction.counts(candidate_BT, finite_BT)[0])
            bits_BT = only(candidate_BT, token_bits(words, sequence_id, position))
            descent = self._descent(reduction)
            last = descent.at_rank(bits_BT.reshape(-1), jnp.maximum(k - 1, 0))
            selected_BT = descent.first(bits_BT, candidate_BT, k, last, sequence_id, position)
            chosen, counts = _chosen(selected_BT, candidate_BT, x_BT, reduction)
            return by_token | chosen, whole | counts

        identities = (identity.sequence_id, identity.position)
        by_token, whole = self._distribute(
            on_device, (x_BT, y_BT, mask_BT, among_BT, *identities), k, key_words(key)
        )
        return Choice(**by_token, **whole)

    def _descent(self, reduction) -> Descent:
        return Descent(histogram=self.histogram, reduction=reduction)

    def _describe(self, score_BT, mask_BT, quantiles, top_shares, reduction, k=0):
        """The fields of a `Distribution`, by token and whole; N; and the k-th largest, of one descent."""
        finite_BT = mask_BT & jnp.isfinite(score_BT)
        num_finite, num_nonfinite = reduction.counts(finite_BT, mask_BT & ~finite_BT)
        last = jnp.maximum(num_finite - 1, 0)
        sizes = [jnp.maximum(_floor_multiply(share, num_finite), 1) for share in top_shares]
        ranks = [_floor_multiply(q, last) for q in quantiles]
        ranks += [jnp.clip(num_finite - size, 0, last) for size in (*sizes, k)]
        keys_BT = only(finite_BT, float_keys(score_BT))
        ranked = self._descent(reduction).at_ranks(keys_BT.reshape(-1), jnp.stack(ranks))
        values_Q = keys_to_float(ranked.key_R[: len(quantiles)])
        least = Ranked(*(x[len(quantiles) : -1] for x in tuple(ranked)))
        mean, top_means_S = _means(score_BT, finite_BT, keys_BT, least, num_finite, sizes, reduction)
        by_token = {"score_BT": jnp.where(mask_BT, jnp.where(finite_BT, score_BT, jnp.nan), 0)}
        whole = {
            "mean": mean,
            "quantiles_Q": jnp.where(num_finite > 0, values_Q, 0),
            "top_means_S": jnp.where(num_finite > 0, top_means_S, 0),
            "num_nonfinite": num_nonfinite,
        }
        return by_token, whole, num_finite, ranked[-1]

    def _distribute(self, on_device: Callable, by_token: tuple[Array, ...], *replicated: Array):
        """`on_device(reduction, ...)` on each device's rows: the whole selection is one program a device.

        It returns a pair: arrays by token, and those that are the same everywhere.
        """
        # Means, keys, window and report read the same values. A compiler that computed an operand anew for
        # each reader, contracted in another way or not rounded to bf16, would show each of them another.
        by_token = jax.lax.optimization_barrier(by_token)
        if self.shards is None:
            return on_device(Reduction(), *by_token, *replicated)
        num_rows, rows, whole = by_token[0].shape[0], PartitionSpec(self.shards.tokens), PartitionSpec()
        reduction = Reduction(axes=self.shards.tokens)
        return jax.shard_map(
            lambda *args: on_device(reduction, *args),
            mesh=self.shards.mesh,
            in_specs=(
                *(rows if x.shape[0] == num_rows else whole for x in by_token),
                *(whole for _ in replicated),
            ),
            out_specs=(rows, whole),
            check_vma=False,
        )(*by_token, *replicated)


def _token_covariance(x_BT, y_BT, mask_BT, reduction) -> tuple[Array, Array]:
    """(covariance, nan where masked or not finite; where it is neither)."""
    x_BT, y_BT = without_subnormals(x_BT), without_subnormals(y_BT)
    finite_BT = mask_BT & jnp.isfinite(x_BT) & jnp.isfinite(y_BT)
    x_BT, y_BT = jnp.where(finite_BT, x_BT, 0), jnp.where(finite_BT, y_BT, 0)
    mean_x, mean_y = masked_means((x_BT, y_BT), finite_BT, reduction)
    # A subnormal deviation or product is zero as well, or backends that keep them would differ from the rest.
    deviation_x_BT, deviation_y_BT = without_subnormals(x_BT - mean_x), without_subnormals(y_BT - mean_y)
    score_BT = without_subnormals(deviation_x_BT * deviation_y_BT)
    finite_BT &= jnp.isfinite(score_BT)
    return jnp.where(finite_BT, score_BT, jnp.nan), finite_BT


def _means(score_BT, finite_BT, keys_BT, least: Ranked, num_finite, sizes, reduction) -> tuple[Array, Array]:
    """The mean of all finite scores; those of the `sizes` largest, of which the smallest are `least`.

    Scores that tie with the smallest are counted, not told from one another.
    """
    masks = (finite_BT, *(finite_BT & (keys_BT > key) for key in least.key_R))
    num_above_S = num_finite - least.num_below_R - least.num_equal_R
    num_tied = [size - num_above for size, num_above in zip(sizes, num_above_S, strict=True)]
    tied = (jnp.append(jnp.float32(0), keys_to_float(least.key_R)), jnp.stack([jnp.int32(0), *num_tied]))
    means = masked_means((score_BT,) * len(masks), masks, reduction, repeated=tied)
    return means[0], means[1:]


def _chosen(selected_BT, candidate_BT, x_BT, reduction) -> tuple[dict[str, Array], dict[str, Array]]:
    """The fields that a `Choice` adds, by token and whole."""
    x_BT = without_subnormals(x_BT)
    kinds = (candidate_BT, selected_BT, selected_BT & (x_BT > 0), selected_BT & (x_BT < 0))
    names = ("num_candidates", "num_selected", "num_selected_positive", "num_selected_negative")
    counts = dict(zip(names, reduction.counts(*kinds), strict=True))
    return {"selected_BT": selected_BT, "candidate_BT": candidate_BT}, counts


def _floor_multiply(q: float, number: Int32[Array, ""]) -> Int32[Array, ""]:
    """floor(q * number), exact: q is taken for the decimal that was written, with a denominator < 2**15."""
    ratio = Fraction(repr(float(q)))
    if not 0 <= ratio <= 1 or ratio.denominator >= 1 << 15:
        raise ValueError(f"a quantile must be a short decimal in [0, 1], got {q}")
    whole, rest = number // ratio.denominator, number % ratio.denominator
    return ratio.numerator * whole + ratio.numerator * rest // ratio.denominator

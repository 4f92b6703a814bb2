"""Attention of whole sequences, as training differentiates it: one function, three implementations.

Query t of T sees key u of U where both lie in one segment and u <= t + (U - T): causal, with the queries
aligned to the end of the keys. Segment 0 is padding; what its queries get is finite and means nothing.

XLA's keeps scores for its backward pass, T x U of them a head. JAX's splash kernel (TPU) and cuDNN (NVIDIA)
keep one log-sum-exp a query. Their keys lie in one array, so a shared prefix is repeated for the samples of
its prompt and put before their own keys; XLA's reads it where it lies.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu import splash_attention as splash
from jax.sharding import PartitionSpec
from jaxtyping import Array, Bool, Float, Int

from entropy_rl.models.attention import attend, by_head
from pallas_kernels.sharding import Shards

KEPT = "attention"
"""The name by which `jax.checkpoint` may keep a kernel's output and log-sum-exp for the backward pass."""

LANES = 128
"""Splash attention's blocks are multiples of the TPU's lanes."""

Bound = Callable[[Array, Array, Array, tuple[Array, Array] | None], Array]
"""(q_BTNH, k_PKGTH, v_PKGTH, the prefix's (k_PKSH, v_PKSH) or None) -> mixed values [B, T, N, H]."""


class TrainingAttention(ABC):
    """Scores are scaled by H**-0.5. Frozen and hashable, so that a policy that holds one is."""

    @property
    def takes_packed_rows(self) -> bool:
        """Whether a row may hold several segments."""
        return True

    @property
    def of_padded_rows(self) -> "TrainingAttention":
        """The same for rows of one segment each, which may be cheaper."""
        return self

    @abstractmethod
    def __call__(
        self,
        q_BTNH: Float[Array, "B T N H"],
        k_BUKH: Float[Array, "B U K H"],
        v_BUKH: Float[Array, "B U K H"],
        q_segment_BT: Int[Array, "B T"],
        kv_segment_BU: Int[Array, "B U"],
        *,
        shards: Shards | None = None,
    ) -> Float[Array, "B T N H"]:
        """Softmax attention; query head n reads key-value head n // (N / K).

        `shards` says how a mesh cuts rows (as it cuts tokens) and heads; None on one device.
        """

    def bind(
        self,
        segment_BT: Int[Array, "B T"] | None,
        shape: tuple[int, int],
        prefix_mask_PS: Array | None,
        shards: Shards | None = None,
    ) -> Bound:
        """Attention over own keys, and over a prefix when its mask is given, with all that layers share.

        `shape` is (B, T). Own keys are seen within their segment; None is one segment without padding. A
        prefix belongs to segment 1. Row b belongs to prompt b // G.
        """
        own_BT = jnp.ones(shape, jnp.int32) if segment_BT is None else segment_BT
        segment_BU = own_BT
        if prefix_mask_PS is not None:
            group = shape[0] // prefix_mask_PS.shape[0]
            prefix_BS = jnp.repeat(prefix_mask_PS.astype(jnp.int32), group, axis=0)
            segment_BU = jnp.concatenate([prefix_BS, own_BT], axis=1)

        def attention(q_BTNH, k_PKGTH, v_PKGTH, shared):
            k_PKSH, v_PKSH = (None, None) if shared is None else shared
            k_BUKH, v_BUKH = _whole(k_PKGTH, k_PKSH), _whole(v_PKGTH, v_PKSH)
            return self(q_BTNH, k_BUKH, v_BUKH, own_BT, segment_BU, shards=shards)

        return attention


def _whole(own_PKGTH: Array, prefix_PKSH: Array | None) -> Float[Array, "B U K H"]:
    """The prefix, repeated for its G samples, and then each one's own."""
    P, K, G, _, H = own_PKGTH.shape
    if prefix_PKSH is not None:
        prefix_PKGSH = jnp.broadcast_to(prefix_PKSH[:, :, None], (P, K, G, *prefix_PKSH.shape[2:]))
        own_PKGTH = jnp.concatenate([prefix_PKGSH, own_PKGTH], axis=3)
    return own_PKGTH.transpose(0, 2, 3, 1, 4).reshape(P * G, -1, K, H)


@dataclass(frozen=True, kw_only=True)
class XLAAttention(TrainingAttention):
    """Plain XLA, for CPUs and for short sequences; any dtype, sharded as its operands are."""

    def __call__(self, q_BTNH, k_BUKH, v_BUKH, q_segment_BT, kv_segment_BU, *, shards=None):
        B, U = q_segment_BT.shape[0], _num_keys(q_BTNH, k_BUKH)
        mask_BTU = _causal(q_segment_BT.shape[1], U) & _equal(q_segment_BT, kv_segment_BU)
        return attend(q_BTNH, by_head(k_BUKH, B), by_head(v_BUKH, B), mask_BTU)

    def bind(self, segment_BT, shape, prefix_mask_PS, shards=None):
        mask_BTT = _causal(shape[1], shape[1])
        if segment_BT is not None:
            mask_BTT = mask_BTT & _equal(segment_BT, segment_BT)

        def attention(q_BTNH, k_PKGTH, v_PKGTH, shared):
            prefix = None if shared is None else (*shared, prefix_mask_PS)
            return attend(q_BTNH, k_PKGTH, v_PKGTH, mask_BTT, prefix)

        return attention


@dataclass(frozen=True, kw_only=True)
class _KernelAttention(TrainingAttention):
    """A kernel that knows nothing of sharding, and so stands inside `shard_map` on a mesh."""

    def __call__(self, q_BTNH, k_BUKH, v_BUKH, q_segment_BT, kv_segment_BU, *, shards=None):
        _num_keys(q_BTNH, k_BUKH)
        if shards is None:
            return self._local(q_BTNH, k_BUKH, v_BUKH, q_segment_BT, kv_segment_BU)
        rows, num_cuts = shards.num_token_shards, shards.mesh.shape.get(shards.heads, 1)
        if q_BTNH.shape[0] % rows or k_BUKH.shape[2] % num_cuts:
            raise ValueError(
                f"{q_BTNH.shape[0]} rows and {k_BUKH.shape[2]} key-value heads cannot be cut into {rows} and "
                f"{num_cuts} equal shards; choose a mesh whose axes divide them"
            )
        row = shards.tokens or None
        array, segment = PartitionSpec(row, None, shards.heads, None), PartitionSpec(row, None)
        return jax.shard_map(
            self._local,
            mesh=shards.mesh,
            in_specs=(array, array, array, segment, segment),
            out_specs=array,
            check_vma=False,
        )(q_BTNH, k_BUKH, v_BUKH, q_segment_BT, kv_segment_BU)

    @abstractmethod
    def _local(self, q_BTNH, k_BUKH, v_BUKH, q_segment_BT, kv_segment_BU) -> Array:
        """One device's share."""


@dataclass(frozen=True, kw_only=True)
class SplashAttention(_KernelAttention):
    """JAX's splash attention for TPUs: blocks above the diagonal are not computed. bf16 or f32.

    Blocks are no larger than given, and as equal as multiples of 128 allow, so that little is added to fill
    the last. Forward, dq and dkv share them: a block of 1,024 queries meets each key block with 1,024 flops
    for every byte of it that is read in bf16, above the ratio of every chip from v4 to v6e.
    """

    block_q: int = 1024
    """Most queries in a block."""
    block_kv: int = 512
    """Most keys in a block."""
    interpret: bool = False
    """Whether Pallas's interpreter runs the kernel, anywhere and slowly."""

    def _local(self, q_BTNH, k_BUKH, v_BUKH, q_segment_BT, kv_segment_BU):
        (T, N, H), U = q_BTNH.shape[1:], k_BUKH.shape[1]
        (block_q, more_q), (block_kv, more_kv) = _blocks(T, self.block_q), _blocks(U, self.block_kv)
        # What fills the last blocks comes after the last key, where causality hides it.
        mask = splash.CausalMask((T + more_q, U + more_kv), offset=U - T)
        kernel = splash.make_splash_mha(
            splash.MultiHeadMask([mask] * N),
            block_sizes=splash.BlockSizes(
                block_q=block_q,
                block_kv=block_kv,
                block_q_dkv=block_q,
                block_kv_dkv=block_kv,
                block_q_dq=block_q,
                block_kv_dq=block_kv,
            ),
            head_shards=1,
            q_seq_shards=1,
            residual_checkpoint_name=KEPT,
            interpret=self.interpret,
        )
        q_BNTH = _filled(q_BTNH * H**-0.5, more_q).swapaxes(1, 2)
        k_BKUH, v_BKUH = (_filled(x, more_kv).swapaxes(1, 2) for x in (k_BUKH, v_BUKH))
        segments = splash.SegmentIds(_filled(q_segment_BT, more_q), _filled(kv_segment_BU, more_kv))
        return jax.vmap(kernel)(q_BNTH, k_BKUH, v_BKUH, segments).swapaxes(1, 2)[:, :T]


@dataclass(frozen=True, kw_only=True)
class CuDNNAttention(_KernelAttention):
    """cuDNN's fused attention for NVIDIA GPUs, through `jax.nn.dot_product_attention`; bf16 or f16.

    cuDNN's causal mask begins at the first key, so queries of zeros are put before the T that are asked for:
    (U - T)^2 / 2 more scores a head. And it knows lengths, not segments: each row is turned until its one run
    of real keys begins at 0. Its output cannot be kept by name, so the backward pass runs it forward again.
    """

    packed: bool = False
    """Whether a row may hold several segments. That takes a mask, 2 U^2 bytes a row, twice in training."""
    implementation: Literal["cudnn", "xla"] = "cudnn"
    """"xla" runs the same calls anywhere, in any dtype, with all scores in memory."""

    @property
    def takes_packed_rows(self) -> bool:
        return self.packed

    @property
    def of_padded_rows(self):
        return replace(self, packed=False)

    def _local(self, q_BTNH, k_BUKH, v_BUKH, q_segment_BT, kv_segment_BU):
        if self.implementation == "cudnn" and q_BTNH.dtype not in (jnp.bfloat16, jnp.float16):
            raise ValueError(
                f"cuDNN attention takes bfloat16 or float16, got {q_BTNH.dtype}; set policy.compute_dtype to "
                "bfloat16, or choose XLA's attention"
            )
        T, U = q_BTNH.shape[1], k_BUKH.shape[1]
        form = self._by_mask if self.packed else self._by_length
        odd = U % 2  # of even lengths alone does JAX let cuDNN give gradients
        queries = (_filled(x, odd, U - T) for x in (q_BTNH, q_segment_BT))
        keys = (_filled(x, odd) for x in (k_BUKH, v_BUKH, kv_segment_BU))
        out_BTNH = form(*queries, *keys)[:, U - T : U]
        return jnp.where((q_segment_BT != 0)[:, :, None, None], out_BTNH, 0)

    def _by_length(self, q_BUNH, q_segment_BU, k_BUKH, v_BUKH, segment_BU):
        start_B = jnp.argmax(segment_BU != 0, axis=1).astype(jnp.int32)
        length_B = jnp.maximum((segment_BU != 0).sum(axis=1, dtype=jnp.int32), 1)
        out_BUNH = jax.nn.dot_product_attention(
            *(_turned(x, start_B) for x in (q_BUNH, k_BUKH, v_BUKH)),
            is_causal=True,
            query_seq_lengths=length_B,
            key_value_seq_lengths=length_B,
            implementation=self.implementation,
        )
        return _turned(out_BUNH, -start_B)

    def _by_mask(self, q_BUNH, q_segment_BU, k_BUKH, v_BUKH, segment_BU):
        return jax.nn.dot_product_attention(
            *(q_BUNH, k_BUKH, v_BUKH),
            mask=_equal(q_segment_BU, segment_BU)[:, None],
            is_causal=True,
            implementation=self.implementation,
        )


def _causal(T: int, U: int) -> Bool[Array, "1 T U"]:
    return jnp.tril(jnp.ones((T, U), bool), U - T)[None]


def _equal(q_segment_BT: Int[Array, "B T"], kv_segment_BU: Int[Array, "B U"]) -> Bool[Array, "B T U"]:
    return q_segment_BT[:, :, None] == kv_segment_BU[:, None, :]


def _num_keys(q_BTNH: Array, k_BUKH: Array) -> int:
    T, U = q_BTNH.shape[1], k_BUKH.shape[1]
    if U < T:
        raise ValueError(f"{T} queries, aligned to the end of the keys, need as many keys; got {U}")
    return U


def _blocks(length: int, largest: int) -> tuple[int, int]:
    """(block, what must be added to the length to make it a multiple), the fewest blocks that cover it."""
    count = -(-length // largest)
    block = -(-length // (count * LANES)) * LANES
    return block, count * block - length


def _filled(x_BT: Array, behind: int, before: int = 0) -> Array:
    """Zeros added along axis 1."""
    return jnp.pad(x_BT, ((0, 0), (before, behind), *((0, 0),) * (x_BT.ndim - 2)))


def _turned(x_BU: Array, start_B: Int[Array, " B"]) -> Array:
    """Each row rolled, so that it begins at its own `start`."""
    U = x_BU.shape[1]
    index_BU = (jnp.arange(U, dtype=jnp.int32)[None] + start_B[:, None]) % U

    # Told that no index occurs twice, the gradient is a scatter without atomic additions.
    def row(x_U, index_U):
        return x_U.at[index_U].get(unique_indices=True, mode="promise_in_bounds")

    return jax.vmap(row)(x_BU, index_BU)

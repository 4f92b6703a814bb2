"""Histograms of keys by digit, as a radix descent wants them: the interface, and plain XLA."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Int32, UInt32

KEY_BITS = 32


class Histogram(ABC):
    """Counts keys by one digit. Implementations are frozen dataclasses, static under `jax.jit`."""

    @property
    @abstractmethod
    def bits(self) -> int:
        """Bits of a digit; a divisor of 32."""

    @abstractmethod
    def counts(
        self, key_N: UInt32[Array, " N"], prefix_R: UInt32[Array, " R"], shift: Int32[Array, ""]
    ) -> Int32[Array, "R digits"]:
        """For each prefix, the number of keys that continue it with each digit.

        A key is prefix, digit and `shift` lower bits. Prefixes may repeat. Exact for N < 2**31.
        """


@dataclass(frozen=True, kw_only=True)
class XLAHistogram(Histogram):
    """One scatter-add a digit, whatever the number of prefixes: on a CPU a few nanoseconds a key.

    A count of comparisons for each bit and prefix costs less than a scatter, but there are 32 of them.
    """

    digit_bits: int = 8
    """Bits of a digit. The table of counts has 2**digit_bits entries a prefix."""

    def __post_init__(self):
        if self.digit_bits not in (1, 2, 4, 8, 16):
            raise ValueError(f"digit_bits must be 1, 2, 4, 8 or 16, got {self.digit_bits}")

    @property
    def bits(self):
        return self.digit_bits

    def counts(self, key_N, prefix_R, shift):
        num_prefixes, num_digits = prefix_R.shape[0], 1 << self.bits
        rest_N = key_N >> shift.astype(jnp.uint32)
        digit_N, head_N = rest_N & (num_digits - 1), rest_N >> self.bits
        # A key continues one prefix at most, so one table serves all; repeats share the row of the first.
        row_N = jnp.full(key_N.shape, num_prefixes, jnp.uint32)
        for r in reversed(range(num_prefixes)):
            row_N = jnp.where(head_N == prefix_R[r], jnp.uint32(r), row_N)
        table = jnp.zeros((num_prefixes + 1) * num_digits, jnp.int32)
        table = table.at[row_N * num_digits + digit_N].add(1, mode="promise_in_bounds")
        first_R = jnp.argmax(prefix_R[:, None] == prefix_R[None, :], axis=1)
        return table.reshape(-1, num_digits)[first_R]

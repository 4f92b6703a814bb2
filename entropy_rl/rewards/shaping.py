r"""What is added to the reward for being right: a penalty for overlong responses, a reward for their form."""

import re
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int

from entropy_rl.rewards.scores import Score


@dataclass(frozen=True, kw_only=True)
class OverlongPenalty:
    """Soft punishment of responses that come near the limit of tokens (DAPO, arXiv 2503.14476, Eq. 13).

    With L tokens at most, none up to L - buffer_tokens, then growing evenly to -factor at L.
    """

    buffer_tokens: int
    """Length of the stretch before the limit in which the penalty grows, in tokens."""
    factor: float = 1.0
    """The penalty at the limit."""

    def __post_init__(self):
        if self.buffer_tokens < 1 or not self.factor > 0:
            raise ValueError(
                "overlong needs buffer_tokens >= 1 and factor > 0, got "
                f"{self.buffer_tokens} and {self.factor}; for no penalty set overlong to None"
            )

    def check(self, max_tokens: int) -> None:
        """Raises ValueError when the buffer is longer than a response can be."""
        if self.buffer_tokens > max_tokens:
            raise ValueError(
                f"overlong.buffer_tokens must be at most the longest response, {max_tokens} tokens, got "
                f"{self.buffer_tokens}; the buffer is a stretch before that limit"
            )

    def __call__(self, num_tokens_N: Int[np.ndarray, " N"], max_tokens: int) -> Float32[np.ndarray, " N"]:
        """What is added to the reward of responses of so many tokens: 0 or less."""
        self.check(max_tokens)
        over_N = num_tokens_N - (max_tokens - self.buffer_tokens)
        return np.minimum(-over_N / self.buffer_tokens * self.factor, 0).astype(np.float32)


def judge_format(response: str, answer: str, *, pattern: str) -> Score:
    """1 where a regular expression is found in the response, "." matching line ends too; else 0."""
    found = re.search(pattern, response, re.DOTALL)
    return Score(score=float(found is not None), method="form" if found else "not the form")

"""A judge that a random policy can please, in a file of its own, which its processes load fast."""

import time

from entropy_rl.rewards.scores import Score


def judge(response: str, answer: str, seconds: float = 0.0) -> Score:
    """Right when the response's characters have an even sum; its answer is the first one. Takes its time."""
    time.sleep(seconds)
    return Score(score=float(is_right(response)), method="parity", extracted=response[:1] or None)


def is_right(response: str) -> bool:
    return sum(map(ord, response)) % 2 == 0

"""Responses that say again what an earlier one of their group has said."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int32

NEAR = 0.65
"""Responses share more than this of their words, by Jaccard, to be nearly the same."""


def duplicates(
    ids_PGT: Int32[np.ndarray, "P G T"], length_PG: Int32[np.ndarray, "P G"]
) -> Bool[np.ndarray, "P G"]:
    """Which responses have the tokens of an earlier one of their group."""
    twice_PG = np.zeros(length_PG.shape, bool)
    for p, (ids_GT, length_G) in enumerate(zip(ids_PGT, length_PG, strict=True)):
        seen = set()
        for g, (ids_T, length) in enumerate(zip(ids_GT, length_G, strict=True)):
            tokens = ids_T[:length].tobytes()
            twice_PG[p, g] = tokens in seen
            seen.add(tokens)
    return twice_PG


def near_duplicates(texts: Sequence[Sequence[str]]) -> Bool[np.ndarray, "P G"]:
    """Which responses, by their text, have more than `NEAR` of the words of both in common with an earlier
    one of their group. Responses without words are the same."""
    return np.array([_near_duplicates(group) for group in texts], bool).reshape(len(texts), -1)


def _near_duplicates(group: Sequence[str]) -> list[bool]:
    words = [frozenset(text.split()) for text in group]
    return [any(_is_near(mine, other) for other in words[:g]) for g, mine in enumerate(words)]


def _is_near(a: frozenset[str], b: frozenset[str]) -> bool:
    if min(len(a), len(b)) <= NEAR * max(len(a), len(b)):  # what they share is at most the smaller
        return len(a) == len(b)
    shared = len(a & b)
    return shared > NEAR * (len(a) + len(b) - shared)

"""The order of training prompts: which of them each batch holds, on grain's shuffles.

Every part of a mixture goes round in epochs, each a fresh permutation. What a batch draws from a part lies
within one epoch: where less is left than it needs, that rest is left out and the next epoch begins. So no
batch holds a prompt twice.
"""

from collections.abc import Iterator, Sequence

import grain
import numpy as np


class MixedOrder:
    """Endless batches of indices, mixed by weight; the same for the same arguments, on every process.

    `part_of[i]` is the part that prompt i belongs to, `weights` are those of the parts. The places of a batch
    are given out one by one, each to the part that lags furthest behind its share of all places so far: so
    shares are kept over every stretch of batches, and over every stretch of one batch too.
    """

    def __init__(
        self,
        part_of: Sequence[int],
        weights: Sequence[float],
        *,
        per_batch: int,
        seed: int,
        size_setting: str = "per_batch",
    ):
        assert max(part_of) < len(weights), "every part has a weight"
        members = [[i for i, part in enumerate(part_of) if part == k] for k in range(len(weights))]
        self._sizes_K = np.array([len(part) for part in members])
        self._shares_K = np.array(weights) / sum(weights)
        self._per_batch = per_batch
        self._refuse_parts_smaller_than_their_share(weights, size_setting)
        # grain shuffles epoch e with seed + e; hashing first keeps neighbouring seeds, and parts, apart.
        seeds_K = np.random.SeedSequence(seed).generate_state(len(weights)).tolist()
        self._streams = [
            grain.MapDataset.source(part).shuffle(seed=seed_of_part)
            for part, seed_of_part in zip(members, seeds_K, strict=True)
        ]
        self._drawn_K = np.zeros(len(weights), np.int64)
        self._position_K = np.zeros(len(weights), np.int64)

    def __iter__(self) -> Iterator[list[int]]:
        return self

    def __next__(self) -> list[int]:
        places = self._places()
        wanted_K = np.bincount(places, minlength=len(self._sizes_K))
        left_K = self._sizes_K - self._position_K % self._sizes_K
        self._position_K += np.where(wanted_K > left_K, left_K, 0)
        indices = []
        for part in places:
            indices.append(self._streams[part][int(self._position_K[part])])
            self._position_K[part] += 1
        self._drawn_K += wanted_K
        return indices

    def get_state(self) -> dict:
        """The position, as an object that JSON can hold."""
        return {"drawn": self._drawn_K.tolist(), "position": self._position_K.tolist()}

    def set_state(self, state: dict) -> None:
        self._drawn_K = np.array(state["drawn"], np.int64)
        self._position_K = np.array(state["position"], np.int64)

    def _places(self) -> list[int]:
        """The part of each place of the next batch; one with more due than prompts catches up later."""
        places, given_K = [], np.zeros_like(self._drawn_K)
        for num_places in range(1 + self._drawn_K.sum(), 1 + self._drawn_K.sum() + self._per_batch):
            lag_K = self._shares_K * num_places - self._drawn_K - given_K
            part = int(np.argmax(np.where(given_K < self._sizes_K, lag_K, -np.inf)))
            given_K[part] += 1
            places.append(part)
        return places

    def _refuse_parts_smaller_than_their_share(self, weights: Sequence[float], size_setting: str) -> None:
        for k, (size, share) in enumerate(zip(self._sizes_K, self._shares_K * self._per_batch, strict=True)):
            if size < share or size == 0:
                raise ValueError(
                    "a part of a mixture must have as many usable prompts as its share of a batch of "
                    f"{self._per_batch}, since none comes twice in a batch; part {k + 1}, of weight "
                    f"{weights[k]:g}, has {size} for a share of {share:.1f}; lower its weight or "
                    f"{size_setting}, or bring more prompts"
                )

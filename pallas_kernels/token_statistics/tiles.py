"""Tile sizes of the TPU kernels for each chip, as data."""

from dataclasses import dataclass

from pallas_kernels.token_statistics.mosaic_cut import Tile


@dataclass(frozen=True, kw_only=True)
class SeparateTiles:
    """Tiles of the two backward kernels of `mosaic_separate`."""

    hidden: Tile
    head: Tile


@dataclass(frozen=True, kw_only=True)
class FusedTiles:
    """Tile of the backward kernel of `mosaic_fused`."""

    both: Tile


@dataclass(frozen=True, kw_only=True)
class MosaicTiles:
    """Tile of each kernel, multiples of 128 on a real chip; the type of `backward` chooses its kernels."""

    forward: Tile
    backward: SeparateTiles | FusedTiles

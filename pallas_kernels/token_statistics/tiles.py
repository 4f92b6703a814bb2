"""Tile sizes of the TPU kernels for each chip, as data.

For each tile of its outer axis a kernel reads all that its inner axis runs over, so its arithmetic per byte
grows with the outer tile, and has to exceed the chip's FLOP per byte (v4 224, v5e 241, v5p 166, v6e 560).
"""

from dataclasses import dataclass

from pallas_kernels.chips import MIB
from pallas_kernels.token_statistics.mosaic_cut import Tile


@dataclass(frozen=True, kw_only=True)
class SeparateTiles:
    """Tiles of the two backward kernels of `mosaic_separate`: five products, on both cores of a chip."""

    hidden: Tile
    head: Tile


@dataclass(frozen=True, kw_only=True)
class FusedTiles:
    """Tile of the backward kernel of `mosaic_fused`: four products, on one core."""

    both: Tile


@dataclass(frozen=True, kw_only=True)
class MosaicTiles:
    """Tile of each kernel, in multiples of 128 on a real chip; the type of `backward` chooses its kernels."""

    forward: Tile
    backward: SeparateTiles | FusedTiles
    outer_buffers: int = 2
    """Buffers of the blocks that the outer axis of a grid chooses: 2 fetch ahead, 1 saves VMEM."""


@dataclass(frozen=True, kw_only=True)
class ChipTiles:
    """What a chip's kernels may take, and the tiles for hidden states of growing width."""

    vmem_limit_bytes: int
    by_row_bytes: tuple[tuple[int, MosaicTiles], ...]
    """(most bytes of a row of hidden, tiles), in ascending order."""

    def choose(self, row_bytes: int) -> MosaicTiles:
        """Tiles for rows of hidden of `row_bytes`; raises ValueError for wider rows than the table knows."""
        for most, tiles in self.by_row_bytes:
            if row_bytes <= most:
                return tiles
        raise ValueError(
            f"rows of hidden of {row_bytes} bytes are wider than the widest in the table, {most}"
        )


def _separate(forward, hidden, head, outer_buffers=2) -> MosaicTiles:
    return MosaicTiles(
        forward=Tile(*forward),
        backward=SeparateTiles(hidden=Tile(*hidden), head=Tile(*head)),
        outer_buffers=outer_buffers,
    )


def _fused(forward, both) -> MosaicTiles:
    return MosaicTiles(forward=Tile(*forward), backward=FusedTiles(both=Tile(*both)))


MOSAIC_TILES = {
    "v4": ChipTiles(
        vmem_limit_bytes=16 * MIB,
        by_row_bytes=(
            (3584, _separate((512, 512), (512, 256), (256, 512), 1)),
            (7168, _separate((512, 256), (256, 256), (256, 256), 1)),
            (10240, _separate((384, 256), (256, 128), (128, 256), 1)),
            (20480, _separate((128, 128), (128, 128), (128, 128), 1)),
        ),
    ),
    "v5e": ChipTiles(
        vmem_limit_bytes=112 * MIB,
        by_row_bytes=(
            (10240, _fused((1024, 512), (256, 1024))),
            (20480, _fused((512, 512), (256, 512))),
        ),
    ),
    "v5p": ChipTiles(
        vmem_limit_bytes=60 * MIB,
        by_row_bytes=(
            (10240, _separate((512, 512), (512, 512), (512, 512))),
            (20480, _separate((256, 256), (256, 256), (256, 256))),
        ),
    ),
    "v6e": ChipTiles(
        vmem_limit_bytes=120 * MIB,
        by_row_bytes=(
            (7168, _fused((1024, 512), (256, 1536))),
            (10240, _fused((1024, 512), (256, 1280))),
            (20480, _fused((512, 512), (256, 512))),
        ),
    ),
}
"""By name of the chip as in `pallas_kernels.chips.TPU_CHIPS`. The widths are those of Qwen2.5 0.5B, 1.5B, 7B
and 32B in bf16 and f32; that the compiler takes each is a test."""

"""Geometry of padding and of overlapping tiles."""

from collections.abc import Sequence

import numpy as np


def rounded_up(shape: Sequence[int], factor: int) -> tuple[int, int]:
    """Round the sides of a shape up to multiples of ``factor``."""
    return tuple(-(-side // factor) * factor for side in shape)


def mirrored(L: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Pad a small picture to a shape with its mirror image.

    Args:
        L: ``(H, W)``.
        shape: shape of the result.
    """
    around = [((full - own) // 2, -((own - full) // 2)) for full, own in zip(shape, L.shape, strict=True)]
    return np.pad(L, around, mode="symmetric")


def hat(side: int) -> np.ndarray:
    """Return the blending weights along one side of a tile, ``(side,)`` float32: a triangle, highest in the middle."""
    return np.minimum(np.arange(1, side + 1), np.arange(side, 0, -1)).astype(np.float32)


def starts(full: int, tile: int) -> list[int]:
    """Return the offsets of tiles of ``tile`` pixels that cover ``full`` pixels and overlap by half."""
    return [*range(0, full - tile, tile // 2), full - tile]

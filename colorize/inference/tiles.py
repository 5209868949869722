"""How a picture is cut into overlapping tiles and put together again."""

from collections.abc import Sequence

import numpy as np


def rounded_up(shape: Sequence[int], factor: int) -> tuple[int, int]:
    """Return a shape whose sides are the next multiples of ``factor``."""
    return tuple(-(-side // factor) * factor for side in shape)


def mirrored(L: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Surround a small picture with its mirror images.

    Args:
        L: ``(H, W)``.
        shape: of the result.
    """
    around = [((full - own) // 2, -((own - full) // 2)) for full, own in zip(shape, L.shape, strict=True)]
    return np.pad(L, around, mode="symmetric")


def hat(side: int) -> np.ndarray:
    """Return the weights of a tile along one side, ``(side,)`` float32: they fall from the middle to both ends."""
    return np.minimum(np.arange(1, side + 1), np.arange(side, 0, -1)).astype(np.float32)


def starts(full: int, tile: int) -> list[int]:
    """Return where tiles of ``tile`` pixels begin that cover ``full`` pixels, each half over the one before."""
    return [*range(0, full - tile, tile // 2), full - tile]

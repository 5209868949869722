"""Paint pictures of any size: join their lightness with predicted chroma, in blocks on all cores."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from PIL import Image

from colorize.base.errors import UserError
from colorize.base.machine import cores, memory_available
from colorize.srgb import join, lightness
from colorize.upsampling import Box, GuidedUpsampler

BLOCK = 4096, 2**17  # maximum width and number of pixels of a block: its 15 planes fit into a core's cache


class PixelSource(Protocol):
    """A picture whose lightness is kept: a `Photo`, an `ArrayPicture` or an `Untinted`."""

    size: tuple[int, int]

    def block(self, box: Box) -> np.ndarray:
        """Return the sRGB or grey pixels of a box, ``(H, W)`` or ``(H, W, 3)``: uint8, uint16, or floats in [0, 1]."""

    def small(self, size: tuple[int, int]) -> np.ndarray:
        """Resize the picture, ``(h, w)`` or ``(h, w, 3)`` uint8."""


class ArrayPicture:
    """An array as a `PixelSource`.

    Args:
        pixels: ``(H, W)``, ``(H, W, 1)`` or ``(H, W, 3)``; uint8, uint16, or floats in [0, 1].
    Raises:
        ValueError: if the array has another shape, dtype or range.
    """

    def __init__(self, pixels: np.ndarray) -> None:
        if pixels.ndim == 3 and pixels.shape[2] == 1:
            pixels = pixels[..., 0]
        shaped = pixels.size and (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3))
        if not shaped or not (pixels.dtype in (np.uint8, np.uint16) or _within_one(pixels)):
            raise ValueError(
                "expected a grey or RGB picture of uint8, uint16, or floats in [0, 1]; "
                f"got {pixels.shape} {pixels.dtype}, channels last"
            )
        self.pixels = pixels
        self.size = pixels.shape[1], pixels.shape[0]

    def block(self, box: Box) -> np.ndarray:
        """See `PixelSource`."""
        return self.pixels[box[1] : box[3], box[0] : box[2]]

    def small(self, size: tuple[int, int]) -> np.ndarray:
        """See `PixelSource`."""
        top = np.iinfo(self.pixels.dtype).max if self.pixels.dtype.kind == "u" else 1
        eight = self.pixels if top == 255 else (self.pixels * (255 / top)).round().astype(np.uint8)
        return np.asarray(Image.fromarray(np.ascontiguousarray(eight)).resize(size, Image.Resampling.BICUBIC))


@dataclass(frozen=True)
class Chroma:
    """The chroma that the network predicted for a picture, at the network's size.

    Attributes:
        L: ``(h, w)`` float32, L* in [0, 100] of the small picture.
        ab: ``(2, h, w)`` float32, predicted chroma in Lab units.
    """

    L: np.ndarray
    ab: np.ndarray


def blank(size: tuple[int, int], dtype: Any = None) -> Any:
    """Allocate the canvas for a picture: an array ``(H, W, 3)`` of a dtype, or a Pillow image if it is None.

    Raises:
        UserError: if there is not enough memory.
    """
    width, height = size
    needed, there = width * height * (3 * np.dtype(dtype).itemsize if dtype else 4), memory_available()
    if there and needed > there:
        raise UserError(f"{width}x{height} pixels need {needed / 1e9:.1f} GB of memory; {there / 1e9:.1f} GB are free")
    return np.empty((height, width, 3), dtype) if dtype else Image.new("RGB", size)


def paint(source: PixelSource, chroma: Chroma, canvas: Any) -> int:
    """Join a picture's lightness with its predicted chroma, in blocks, on all cores.

    Args:
        source: the picture.
        chroma: its predicted chroma.
        canvas: where the result is painted, see `blank`.
    Returns:
        The number of pixels that lost chroma to fit sRGB.
    """
    upsampler = GuidedUpsampler(chroma.L, chroma.ab, source.size)
    dtype = canvas.dtype if isinstance(canvas, np.ndarray) else np.uint8

    def work(box: Box) -> tuple[Box, np.ndarray, int]:
        L = lightness(source.block(box))
        return box, *join(L, *upsampler.block(box, L), dtype)

    total, blocks = 0, list(_blocks(source.size))
    with ThreadPoolExecutor(cores()) as pool:  # starts threads only when it is given work
        for box, pixels, limited in (pool.map if len(blocks) > 1 else map)(work, blocks):
            if isinstance(canvas, np.ndarray):
                canvas[box[1] : box[3], box[0] : box[2]] = pixels
            else:
                canvas.paste(Image.fromarray(pixels), box[:2])
            total += limited
    return total


def _blocks(size: tuple[int, int]) -> Iterator[Box]:
    columns = min(size[0], BLOCK[0])
    rows = max(1, BLOCK[1] // columns)
    for top in range(0, size[1], rows):
        for left in range(0, size[0], columns):
            yield left, top, min(left + columns, size[0]), min(top + rows, size[1])


def _within_one(pixels: np.ndarray) -> bool:
    return pixels.dtype.kind == "f" and bool(pixels.min() >= 0 and pixels.max() <= 1)

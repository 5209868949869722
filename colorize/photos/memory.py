"""Memory limits: parse ``--memory``, compute what is left for photographs, and estimate what a photograph needs."""

import math
import re
import sys
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from colorize.base.errors import UserError
from colorize.base.machine import memory_available, resident
from colorize.images import DEEP, ImageError, header

SHARE = 0.75  # default limit: this share of the memory that is free at the start, plus what is in use already
RESERVE = 100_000_000  # bytes not available to photographs: blocks being painted, threads, freed memory that is kept
UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
# Bytes a pixel that formats need in addition to Pillow's images while they are read and written: the maximum over grey,
# color and transparent pictures of 20 megapixels, with Pillow 12.3
READING = {
    "AVIF": 10, "BMP": 0, "DIB": 0, "GIF": 4, "JPEG": 0, "JPEG2000": 24, "MPO": 0, "PCX": 0, "PNG": 0, "PPM": 0,
    "TGA": 0, "TIFF": 8, "WEBP": 16,
}  # fmt: skip
UNKNOWN = 8  # for other formats, of which some were measured to need 0 to 2
WRITING = {"AVIF": 44, "JPEG2000": 52, "WEBP": 46}
PROGRESSIVE = 2  # bytes a pixel and channel: libjpeg keeps a progressive JPEG's coefficients until it is read
NARROW = {"1": 1, "L": 1, "P": 1}  # bytes a pixel of Pillow's single-channel images; all others take 4


def parse_size(text: str) -> int:
    """Parse a size such as ``2G`` or ``800M`` into bytes; K, M, G and T are powers of 1,000.

    Raises:
        UserError: if it is not a size.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?", text.strip().upper())
    size = round(float(found[1]) * UNITS[found[2]]) if found else 0
    if not size:
        raise UserError(f"--memory {text} is not a size; write it as 2G or 800M")
    return size


def format_size(size: float, rounded: Callable[[float], int] = math.ceil) -> str:
    """Format a size in bytes as `parse_size` reads it, with one decimal."""
    unit = next((name for name in "GM" if size >= UNITS[name]), "K")
    return f"{rounded(10 * size / UNITS[unit]) / 10:g}{unit}"


class Limit:
    """The memory limit of this process.

    Args:
        size: bytes, including libraries and model; None is what is in use now, plus `SHARE` of what is free.
    """

    def __init__(self, size: int | None = None) -> None:
        free = memory_available()
        self.size = size or (round(SHARE * free) + resident() if free else sys.maxsize)
        self.stated = bool(size)

    def __str__(self) -> str:
        size = format_size(self.size, math.floor)
        return f"--memory {size}" + ("" if self.stated else f", {SHARE:.0%} of what was free")

    def room(self) -> int:
        """Return the bytes that are left for photographs, given what the process uses now.

        Raises:
            UserError: if nothing is left.
        """
        taken = resident() + RESERVE
        if taken >= self.size:
            needed = format_size(taken)
            raise UserError(f"the libraries and the model alone need {needed}, over {self}; allow more")
        return self.size - taken


def cost_of(image: Image.Image) -> int:
    """Estimate the peak memory in bytes for reading an image, coloring it and writing the result.

    Args:
        image: an image of which only the header has been read.
    """
    transparent, deep = image.has_transparency_data, image.mode.startswith(DEEP)
    held = 2 if image.mode.startswith("I;16") else NARROW.get(image.mode, 4)
    kept = 2 if deep else 1 if image.mode in ("1", "L", "LA", "La") else 4
    reading = READING.get(image.format, UNKNOWN)
    if image.info.get("progressive"):
        reading += PROGRESSIVE * len(image.getbands())
    if "icc_profile" in image.info:
        kept = 4
    converted = 0 if held == kept and not transparent else kept + (5 if transparent and held < 4 else transparent)
    done = kept + 4 + transparent
    return image.width * image.height * max(held + reading, held + converted, done + WRITING.get(image.format, 0))


def cost_of_file(path: Path) -> tuple[str, int]:
    """Return a file's size as ``WIDTHxHEIGHT`` and its `cost_of`; 0 if it is not an image, which reading reports."""
    try:
        with header(path) as image:
            return f"{image.width}x{image.height}", cost_of(image)
    except ImageError:
        return "", 0

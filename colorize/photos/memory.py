"""A stated limit of memory: how it is typed, what it leaves for photographs, and what one of them will take."""

import math
import re
import sys
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from colorize.base.errors import UserError
from colorize.base.machine import memory_available, resident
from colorize.images import DEEP, ImageError, header

SHARE = 0.75  # of the memory that is free at the start: the limit, if none is stated, beside what is taken already
RESERVE = 100_000_000  # bytes that are no photograph's: blocks that are being painted, threads, freed memory kept
UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
# Bytes a pixel that formats take beside Pillow's images while they are read and written: the most of grey, color and
# transparent pictures of 20 megapixels, with Pillow 12.3
READING = {
    "AVIF": 10, "BMP": 0, "DIB": 0, "GIF": 4, "JPEG": 0, "JPEG2000": 24, "MPO": 0, "PCX": 0, "PNG": 0, "PPM": 0,
    "TGA": 0, "TIFF": 8, "WEBP": 16,
}  # fmt: skip
UNKNOWN = 8  # of other formats: what is known of some is 0 to 2
WRITING = {"AVIF": 44, "JPEG2000": 52, "WEBP": 46}
PROGRESSIVE = 2  # bytes a pixel and channel: a progressive JPEG's coefficients are held until it is read
NARROW = {"1": 1, "L": 1, "P": 1}  # bytes a pixel of Pillow's images; of more channels than one they are 4


def parse_size(text: str) -> int:
    """Return the bytes of a size such as ``2G`` or ``800M``; K, M, G and T are powers of 1,000.

    Raises:
        UserError: if it is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?", text.strip().upper())
    size = round(float(found[1]) * UNITS[found[2]]) if found else 0
    if not size:
        raise UserError(f"--memory {text} is no size; write it as 2G or 800M")
    return size


def told(size: float, rounded: Callable[[float], int] = math.ceil) -> str:
    """Return a size as `parse_size` reads it, with one decimal."""
    unit = next((name for name in "GM" if size >= UNITS[name]), "K")
    return f"{rounded(10 * size / UNITS[unit]) / 10:g}{unit}"


class Limit:
    """The most memory that this process is to take.

    Args:
        size: bytes, libraries and model included; None is a share of what is free now, beside what is taken already.
    """

    def __init__(self, size: int | None = None) -> None:
        free = memory_available()
        self.size = size or (round(SHARE * free) + resident() if free else sys.maxsize)
        self.stated = bool(size)

    def __str__(self) -> str:
        return f"--memory {told(self.size, math.floor)}" + ("" if self.stated else f", {SHARE:.0%} of what was free")

    def room(self) -> int:
        """Return the bytes that are left for photographs, counted from what the process has now.

        Raises:
            UserError: if nothing is.
        """
        taken = resident() + RESERVE
        if taken >= self.size:
            raise UserError(f"the libraries and the model need {told(taken)} by themselves, over {self}; allow more")
        return self.size - taken


def cost_of(image: Image.Image) -> int:
    """Return about the most bytes that an image takes from being read to its coloured version's being written.

    Args:
        image: of which only the header is read yet.
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
    """Return a file's width and height, in words, and what `cost_of` says; 0 if it is no image, which reading tells."""
    try:
        with header(path) as image:
            return f"{image.width}x{image.height}", cost_of(image)
    except ImageError:
        return "", 0

"""Save lossy WebP so that lightness is preserved although chroma is subsampled to one value per four pixels."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from colorize.srgb import lightness

ROUNDS = 2  # correction rounds; a third finds nothing to correct
RUNS = 1.5  # L*: larger errors are corrected; in grey pictures at quality 95, 1 pixel in 1,000 has one
LEVELS = 2.0  # levels of 255 by which a pixel is moved for each L* of error; for grey, 1 L* is 2.5 levels
ROWS = 256  # rows compared at once


def save_webp(image: Image.Image, target: Path, settings: dict[str, Any]) -> None:
    """Save a picture, read it back, and save it again with corrections where its lightness changed.

    Args:
        image: ``RGB`` or ``RGBA``.
        target: path of the file.
        settings: keyword arguments of Pillow's ``save``.
    """
    image.save(target, "WEBP", **settings)
    moved = image
    for _ in range(ROUNDS):
        moved, changed = _moved(image, moved, target)
        if not changed:
            return
        moved.save(target, "WEBP", **settings)


def _moved(image: Image.Image, given: Image.Image, file: Path) -> tuple[Image.Image, bool]:
    """Return the encoder's input, corrected by the lightness lost in its file, and whether any pixel changed."""
    result, changed = given.copy(), False
    with Image.open(file) as written:
        written.load()
        for top in range(0, image.height, ROWS):
            box = 0, top, image.width, min(top + ROWS, image.height)
            wanted, seen = (lightness(np.asarray(part.crop(box).convert("RGB"))) for part in (image, written))
            lost = wanted - seen
            lost[np.abs(lost) <= RUNS] = 0
            if image.mode == "RGBA":  # invisible pixels are black in the file
                lost[np.asarray(image.getchannel("A").crop(box)) == 0] = 0
            if lost.any():
                changed = True
                pixels = np.asarray(given.crop(box)).astype(np.float32)
                pixels[..., :3] += LEVELS * lost[..., None]
                result.paste(Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8)), box)
    return result, changed

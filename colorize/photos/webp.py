"""Lossy WebP, which has one value of chroma for four pixels, with the lightness kept where its colours run."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from colorize.srgb import lightness

ROUNDS = 2  # a third finds nothing to do
RUNS = 1.5  # L*: what is further off is corrected; of grey pictures 1 pixel in 1,000 is, at quality 95
LEVELS = 2.0  # of 255, that a pixel is moved for each L*; a grey one changes by 1 for 2.5 levels
ROWS = 256  # that are compared at once


def save_webp(image: Image.Image, target: Path, settings: dict[str, Any]) -> None:
    """Save a picture, look at it, and save it again with the pixels that came out too dark or light moved by as much.

    Args:
        image: ``RGB`` or ``RGBA``.
        target: the file.
        settings: of Pillow's ``save``.
    """
    image.save(target, "WEBP", **settings)
    moved = image
    for _ in range(ROUNDS):
        moved, changed = _moved(image, moved, target)
        if not changed:
            return
        moved.save(target, "WEBP", **settings)


def _moved(image: Image.Image, given: Image.Image, file: Path) -> tuple[Image.Image, bool]:
    """Return what was given to the encoder, moved by what is lost in its file; and whether anything is."""
    result, changed = given.copy(), False
    with Image.open(file) as written:
        written.load()
        for top in range(0, image.height, ROWS):
            box = 0, top, image.width, min(top + ROWS, image.height)
            wanted, seen = (lightness(np.asarray(part.crop(box).convert("RGB"))) for part in (image, written))
            lost = wanted - seen
            lost[np.abs(lost) <= RUNS] = 0
            if image.mode == "RGBA":  # what is not seen is black in the file
                lost[np.asarray(image.getchannel("A").crop(box)) == 0] = 0
            if lost.any():
                changed = True
                pixels = np.asarray(given.crop(box)).astype(np.float32)
                pixels[..., :3] += LEVELS * lost[..., None]
                result.paste(Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8)), box)
    return result, changed

"""Pictures of results: one row an image, one captioned column a version of it."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from colorize.lab import l_ab_to_rgb, to_uint8

GAP = 4  # pixels between pictures
CAPTION = 22  # pixels above them
SMALLEST = 128  # pixels a side that a picture is enlarged to, by a whole factor
VERSIONS = ("grey", "generated", "real")  # captions of the report's columns


def picture_grid(columns: dict[str, Tensor]) -> Image.Image:
    """Lay out equally many pictures side by side.

    Args:
        columns: caption to ``(N, 3, H, W)`` uint8 RGB on the CPU; all of the same shape.
    """
    count, _, height, width = next(iter(columns.values())).shape
    factor = -(-SMALLEST // min(height, width, SMALLEST))
    height, width = height * factor, width * factor
    size = (len(columns) * (width + GAP) + GAP, CAPTION + count * (height + GAP))
    canvas = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size=13)
    for x, (caption, pictures) in enumerate(columns.items()):
        left = GAP + x * (width + GAP)
        draw.text((left + width / 2, CAPTION / 2), caption, fill="black", font=font, anchor="mm")
        for y, picture in enumerate(pictures):
            array = np.ascontiguousarray(picture.permute(1, 2, 0).numpy())
            enlarged = Image.fromarray(array).resize((width, height), Image.Resampling.NEAREST)
            canvas.paste(enlarged, (left, CAPTION + y * (height + GAP)))
    return canvas


def columns_of(grid: Image.Image, captions: Sequence[str]) -> dict[str, Image.Image]:
    """Take a picture of `picture_grid` apart: caption to the column below it, of pictures with gaps between them.

    Args:
        grid: the picture.
        captions: of its columns, from the left.
    Raises:
        ValueError: if it is not made of so many columns.
    """
    width, rest = divmod(grid.width - GAP, len(captions))
    if rest or width <= GAP or grid.height <= CAPTION + GAP:
        raise ValueError(f"a picture of {grid.width}x{grid.height} has no {len(captions)} columns of a grid")
    lefts = range(GAP, grid.width, width)
    return {
        caption: grid.crop((left, CAPTION, left + width - GAP, grid.height - GAP))
        for caption, left in zip(captions, lefts, strict=True)
    }


def colorization_columns(L: Tensor, fake_ab: Tensor, ab: Tensor) -> dict[str, Tensor]:
    """Return the report's three columns, for `picture_grid`.

    Args:
        L: ``(N, 1, H, W)`` in [-1, 1].
        fake_ab: ``(N, 2, H, W)`` generated chroma in [-1, 1].
        ab: ``(N, 2, H, W)`` true chroma in [-1, 1].
    """
    versions = zip(VERSIONS, (torch.zeros_like(ab), fake_ab, ab), strict=True)
    return {caption: to_uint8(l_ab_to_rgb(L, chroma)).cpu() for caption, chroma in versions}

"""Grids of result pictures: one row per image, one captioned column per version of it."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from colorize.lab import l_ab_to_rgb, to_uint8

GAP = 4  # pixels between pictures
CAPTION = 22  # height of the captions in pixels
SMALLEST = 128  # pixels a side to which smaller pictures are enlarged, by an integer factor
VERSIONS = ("grey", "generated", "real")  # captions of the columns in the report


def picture_grid(columns: dict[str, Tensor]) -> Image.Image:
    """Draw columns of pictures side by side, with captions.

    Args:
        columns: caption to ``(N, 3, H, W)`` uint8 RGB on the CPU, all of the same shape.
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
    """Split a picture made by `picture_grid` into its columns.

    Args:
        grid: the picture.
        captions: captions of its columns, from the left.
    Returns:
        Caption to column: its pictures with the gaps between them.
    Raises:
        ValueError: if the picture does not have that many columns.
    """
    width, rest = divmod(grid.width - GAP, len(captions))
    if rest or width <= GAP or grid.height <= CAPTION + GAP:
        raise ValueError(f"a picture of {grid.width}x{grid.height} is not a grid with {len(captions)} columns")
    lefts = range(GAP, grid.width, width)
    return {
        caption: grid.crop((left, CAPTION, left + width - GAP, grid.height - GAP))
        for caption, left in zip(captions, lefts, strict=True)
    }


def colorization_columns(L: Tensor, fake_ab: Tensor, ab: Tensor) -> dict[str, Tensor]:
    """Return the report's three columns for `picture_grid`: grey, generated, real.

    Args:
        L: ``(N, 1, H, W)`` in [-1, 1].
        fake_ab: ``(N, 2, H, W)`` generated chroma in [-1, 1].
        ab: ``(N, 2, H, W)`` true chroma in [-1, 1].
    """
    versions = zip(VERSIONS, (torch.zeros_like(ab), fake_ab, ab), strict=True)
    return {caption: to_uint8(l_ab_to_rgb(L, chroma)).cpu() for caption, chroma in versions}

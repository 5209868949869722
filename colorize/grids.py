"""Pictures of results: one row an image, one captioned column a version of it."""

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from colorize.lab import l_ab_to_rgb, to_uint8

GAP = 4  # pixels between pictures
CAPTION = 22  # pixels above them
SMALLEST = 128  # pixels a side that a picture is enlarged to, by a whole factor


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


def colorization_columns(L: Tensor, fake_ab: Tensor, ab: Tensor) -> dict[str, Tensor]:
    """Return the report's three columns, for `picture_grid`.

    Args:
        L: ``(N, 1, H, W)`` in [-1, 1].
        fake_ab: ``(N, 2, H, W)`` generated chroma in [-1, 1].
        ab: ``(N, 2, H, W)`` true chroma in [-1, 1].
    """
    versions = {"grey": torch.zeros_like(ab), "generated": fake_ab, "real": ab}
    return {caption: to_uint8(l_ab_to_rgb(L, chroma)).cpu() for caption, chroma in versions.items()}

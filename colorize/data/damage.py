"""What age and scanners do to the lightness of photographs: fading, scratches and dust, JPEG."""

import math
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from colorize.lab import grey_to_l, l_to_grey
from colorize.srgb import L_SCALE

BLOCK = 8  # pixels a side of what JPEG transforms at once
# ITU-T T.81, table K.1: steps of luminance at quality 50, by vertical and horizontal frequency
STEPS = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)


def fade(L: Tensor, black: Tensor, white: Tensor, corners: Tensor) -> Tensor:
    """Bring blacks up and whites down, unevenly over the picture.

    Args:
        L: ``(B, 1, H, W)`` float32 in [-1, 1].
        black: ``(B,)`` L* that black gains where it is faded most.
        white: ``(B,)`` L* that white loses there.
        corners: ``(B, 4)`` shares of that in [0, 1] at the top left, top right, bottom left and bottom right corner;
            between them it is bilinear.
    Returns:
        L of the same shape and range, if ``black`` and ``white`` together are at most 100.
    """
    share = F.interpolate(corners.unflatten(1, (1, 2, 2)), L.shape[2:], mode="bilinear", align_corners=True)
    tone = (L + 1) / 2  # 0 is black
    change = black[:, None, None, None] * (1 - tone) - white[:, None, None, None] * tone
    return L + share * change / L_SCALE


def scratch(L: Tensor, marks: Tensor) -> Tensor:
    """Draw straight strokes over pictures, one after another.

    Args:
        L: ``(B, 1, H, W)`` float32 in [-1, 1].
        marks: ``(B, K, 6)``: column of the middle over the image's width, row and length over its height; columns a row
            that the stroke leans; width in pixels, which is also its least length; tone in [-1, 1], whose sign says
            black or white and whose size how opaque it is.
    Returns:
        L of the same shape and range.
    """
    height, width = L.shape[2:]
    rows = torch.arange(0.5, height, device=L.device)[:, None]
    columns = torch.arange(0.5, width, device=L.device)
    for mark in marks.unbind(1):
        x, y, length, slant, thickness, tone = mark[:, :, None, None, None].unbind(1)  # (B, 1, 1, 1) each
        below = rows - y * height
        across = _covered(columns - x * width - slant * below, thickness)
        along = _covered(below, torch.maximum(length * height, thickness))
        L = L + tone.abs() * along * across * (tone.sign() - L)
    return L


def _covered(offset: Tensor, extent: Tensor) -> Tensor:
    """Return the share of a pixel, that far from the middle of a band of that extent, which the band covers."""
    return ((extent + 1) / 2 - offset.abs()).clamp(min=0).minimum(extent.clamp(max=1))


def jpeg(L: Tensor, quality: Tensor) -> Tensor:
    """Encode and decode as a grey JPEG of 8 bits does, by ITU-T T.81.

    Args:
        L: ``(B, 1, H, W)`` float32 in [-1, 1].
        quality: ``(B,)`` float32 whole numbers from 1 to 100.
    Returns:
        L of the same shape and range.
    """
    height, width = L.shape[2:]
    grey = F.pad(255 * l_to_grey(L)[:, :1], (0, -width % BLOCK, 0, -height % BLOCK), mode="replicate").round() - 128
    blocks = grey.unflatten(3, (-1, BLOCK)).unflatten(2, (-1, BLOCK)).transpose(3, 4)  # (B, 1, H/8, W/8, 8, 8)
    steps = quantization(quality)[:, None, None, None]
    basis = _cosines(L.device)
    levels = (8 * (basis @ blocks @ basis.T)).round() / (8 * steps)  # the library has its cosines in eighths
    levels = levels.sign() * (levels.abs() + 0.5).floor()  # and halves of a step, which are thus frequent, away from 0
    decoded = (basis.T @ (levels * steps) @ basis + 128).round().clamp(0, 255)
    decoded = decoded.transpose(3, 4).flatten(4, 5).flatten(2, 3)
    return grey_to_l(decoded[:, :, :height, :width] / 255)


def quantization(quality: Tensor) -> Tensor:
    """Return the steps of luminance that the Independent JPEG Group's library takes.

    Args:
        quality: ``(B,)`` float32 whole numbers from 1 to 100.
    Returns:
        ``(B, 8, 8)`` float32 whole numbers from 1 to 255, by vertical and horizontal frequency.
    """
    percent = torch.where(quality < 50, (5000 / quality).floor(), 200 - 2 * quality)[:, None, None]
    return ((_steps(quality.device) * percent + 50) / 100).floor().clamp(1, 255)


@cache  # a copy for each batch would wait for the device
def _steps(device: torch.device) -> Tensor:
    return torch.tensor(STEPS, dtype=torch.float32, device=device)


@cache
def _cosines(device: torch.device) -> Tensor:
    """Return the orthonormal discrete cosine transform, ``(8, 8)``: frequencies by places."""
    places = torch.arange(BLOCK, device=device)
    cosines = torch.cos(math.pi / BLOCK * places[:, None] * (places + 0.5)) * math.sqrt(2 / BLOCK)
    return torch.cat([cosines[:1] / math.sqrt(2), cosines[1:]])

"""Simulated damage to the lightness of photographs: fading, scratches and dust, JPEG."""

import math
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from colorize.lab import grey_to_l, l_to_grey
from colorize.srgb import L_SCALE

BLOCK = 8  # side of JPEG's blocks in pixels
# ITU-T T.81, table K.1: luminance quantization at quality 50, by vertical and horizontal frequency
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
    """Raise blacks and lower whites, unevenly over the image.

    Args:
        L: ``(B, 1, H, W)`` float32 in [-1, 1].
        black: ``(B,)`` maximum increase of black in L*.
        white: ``(B,)`` maximum decrease of white in L*.
        corners: ``(B, 4)`` factors of both in [0, 1] at the top left, top right, bottom left and bottom right corner,
            interpolated bilinearly.
    Returns:
        L of the same shape and range, if ``black + white`` is at most 100.
    """
    share = F.interpolate(corners.unflatten(1, (1, 2, 2)), L.shape[2:], mode="bilinear", align_corners=True)
    tone = (L + 1) / 2  # 0 is black
    change = black[:, None, None, None] * (1 - tone) - white[:, None, None, None] * tone
    return L + share * change / L_SCALE


def scratch(L: Tensor, marks: Tensor) -> Tensor:
    """Draw straight strokes over images, one after another.

    Args:
        L: ``(B, 1, H, W)`` float32 in [-1, 1].
        marks: ``(B, K, 6)``: column of the center over the image's width, row of the center and length over its height;
            slant in columns per row; width in pixels, which is also the minimum length; tone in [-1, 1], whose sign is
            black or white and whose magnitude is the opacity.
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
    """Return the fraction of a pixel that a band of width ``extent`` covers, ``offset`` from its center."""
    return ((extent + 1) / 2 - offset.abs()).clamp(min=0).minimum(extent.clamp(max=1))


def jpeg(L: Tensor, quality: Tensor) -> Tensor:
    """Simulate encoding and decoding as an 8-bit grey JPEG (ITU-T T.81).

    Args:
        L: ``(B, 1, H, W)`` float32 in [-1, 1].
        quality: ``(B,)`` float32 integers from 1 to 100.
    Returns:
        L of the same shape and range.
    """
    height, width = L.shape[2:]
    grey = F.pad(255 * l_to_grey(L)[:, :1], (0, -width % BLOCK, 0, -height % BLOCK), mode="replicate").round() - 128
    blocks = grey.unflatten(3, (-1, BLOCK)).unflatten(2, (-1, BLOCK)).transpose(3, 4)  # (B, 1, H/8, W/8, 8, 8)
    steps = quantization(quality)[:, None, None, None]
    basis = _cosines(L.device)
    levels = (8 * (basis @ blocks @ basis.T)).round() / (8 * steps)  # libjpeg rounds coefficients to eighths
    levels = levels.sign() * (levels.abs() + 0.5).floor()  # and rounds the resulting ties away from 0
    decoded = (basis.T @ (levels * steps) @ basis + 128).round().clamp(0, 255)
    decoded = decoded.transpose(3, 4).flatten(4, 5).flatten(2, 3)
    return grey_to_l(decoded[:, :, :height, :width] / 255)


def quantization(quality: Tensor) -> Tensor:
    """Return the luminance quantization table of the Independent JPEG Group's library (libjpeg).

    Args:
        quality: ``(B,)`` float32 integers from 1 to 100.
    Returns:
        ``(B, 8, 8)`` float32 integers from 1 to 255, by vertical and horizontal frequency.
    """
    percent = torch.where(quality < 50, (5000 / quality).floor(), 200 - 2 * quality)[:, None, None]
    return ((_steps(quality.device) * percent + 50) / 100).floor().clamp(1, 255)


@cache  # copying it for each batch would synchronize the device
def _steps(device: torch.device) -> Tensor:
    return torch.tensor(STEPS, dtype=torch.float32, device=device)


@cache
def _cosines(device: torch.device) -> Tensor:
    """Return the matrix of the orthonormal discrete cosine transform, ``(8, 8)``: frequencies by positions."""
    places = torch.arange(BLOCK, device=device)
    cosines = torch.cos(math.pi / BLOCK * places[:, None] * (places + 0.5)) * math.sqrt(2 / BLOCK)
    return torch.cat([cosines[:1] / math.sqrt(2), cosines[1:]])

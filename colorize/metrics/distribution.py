"""How an image's colors are distributed, whatever is where: hues and the spread of chroma."""

import torch
from torch import Tensor

HUES = 36  # bins of 10 degrees
COLORLESS = 1.0  # mean chroma in Lab units below which an image has no hue: no one would notice it


def hue_distance(ab1: Tensor, ab2: Tensor) -> Tensor:
    """Compare the hue histograms of two images: 1 minus their intersection (Swain and Ballard 1991).

    Each pixel counts with its chroma; histograms are normalized. An image whose mean chroma is below ``COLORLESS`` has
    none: its distance is 1 from an image with colors, 0 from another without.

    Args:
        ab1: ``(B, 2, H, W)`` float in Lab units.
        ab2: the same.
    Returns:
        ``(B,)`` in [0, 1].
    """
    one, two = _hues(ab1), _hues(ab2)
    both_grey = (one.sum(1) == 0) & (two.sum(1) == 0)
    return (1 - torch.minimum(one, two).sum(1)).clamp(0, 1).masked_fill(both_grey, 0)


def _hues(ab: Tensor) -> Tensor:
    """Return ``(B, HUES)``."""
    a, b = ab.flatten(2).unbind(1)
    chroma = (a.square() + b.square()).sqrt()
    bins = (torch.atan2(b, a) * (HUES / (2 * torch.pi)) % HUES).long().clamp(0, HUES - 1)
    sums = torch.zeros(len(ab), HUES, dtype=ab.dtype, device=ab.device).scatter_add_(1, bins, chroma)
    total = chroma.sum(1, keepdim=True)
    return torch.where(chroma.mean(1, keepdim=True) < COLORLESS, torch.zeros_like(sums), sums / total)


def chroma_spread(ab: Tensor) -> Tensor:
    """Measure how far an image's colors are from their mean: the root of the summed variances of a and b.

    Args:
        ab: ``(B, 2, H, W)`` float.
    Returns:
        ``(B,)`` in the units of ``ab``; 0 for an image of one color.
    """
    return ab.flatten(2).var(2, correction=0).sum(1).sqrt()

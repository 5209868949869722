"""Distribution of an image's colors, regardless of position: hue histograms and the spread of chroma."""

import torch
from torch import Tensor

HUES = 36  # bins of 10 degrees
COLORLESS = 1.0  # mean chroma in Lab units below which an image counts as grey: it would not be noticed


def hue_distance(ab1: Tensor, ab2: Tensor) -> Tensor:
    """Compute 1 minus the intersection of the hue histograms of two images (Swain and Ballard 1991).

    Histograms are weighted by chroma and normalized. An image whose mean chroma is below ``COLORLESS`` has no
    histogram: its distance is 1 from an image with colors, 0 from another grey one.

    Args:
        ab1: ``(B, 2, H, W)`` float in Lab units.
        ab2: same as ``ab1``.
    Returns:
        ``(B,)`` in [0, 1].
    """
    one, two = _hues(ab1), _hues(ab2)
    both_grey = (one.sum(1) == 0) & (two.sum(1) == 0)
    return (1 - torch.minimum(one, two).sum(1)).clamp(0, 1).masked_fill(both_grey, 0)


def _hues(ab: Tensor) -> Tensor:
    """Return hue histograms ``(B, HUES)``."""
    a, b = ab.flatten(2).unbind(1)
    chroma = (a.square() + b.square()).sqrt()
    turn = torch.atan2(b, a) * (HUES / (2 * torch.pi)) + HUES / 2  # [0, HUES]
    bins = turn.int().clamp_(max=HUES - 1)
    bins += HUES * torch.arange(len(ab), dtype=torch.int32, device=ab.device)[:, None]
    sums = torch.bincount(bins.flatten(), chroma.flatten(), HUES * len(ab)).view(-1, HUES)
    mean = chroma.mean(1, keepdim=True)
    return sums / (mean * chroma.shape[1]).clamp(min=1e-12) * (mean >= COLORLESS)


def chroma_spread(ab: Tensor) -> Tensor:
    """Compute the spread of an image's colors around their mean: the root of the summed variances of a and b.

    Args:
        ab: ``(B, 2, H, W)`` float.
    Returns:
        ``(B,)`` in the units of ``ab``; 0 for an image of one color.
    """
    ab = ab.flatten(2)
    return (ab - ab.mean(2, keepdim=True)).square().mean(2).sum(1).sqrt()  # var() takes 10 times as long

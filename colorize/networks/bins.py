"""Chroma as classes: the quantized ab plane of "Colorful Image Colorization" (CIC, Zhang et al. 2016)."""

import functools

import torch
from torch import Tensor

from colorize.lab import rgb_to_l_ab
from colorize.srgb import AB_SCALE

STEP = 10.0  # Lab units from one bin to the next
NEAREST = 5  # bins that a color is shared among
SIGMA = 5.0  # Lab units, of the Gaussian that weighs them
LEVELS = 86  # of each sRGB channel, to find which bins hold colors: every third of 256


@functools.cache
def bin_centers() -> Tensor:
    """Return the bins that hold a color of sRGB: ``(261, 2)`` normalized ab, multiples of 10 / 110.

    CIC counts 313, with bins that sRGB only touches.
    """
    with torch.device("cpu"):  # networks are also built without memory, on "meta"
        levels = torch.linspace(0, 1, LEVELS)
        rgb = torch.stack(torch.meshgrid(levels, levels, levels, indexing="ij")).reshape(1, 3, LEVELS, -1)
        ab = rgb_to_l_ab(rgb)[1].flatten(2)[0].T * AB_SCALE
        return (ab / STEP).round().unique(dim=0) * STEP / AB_SCALE


def soft_targets(ab: Tensor, centers: Tensor) -> tuple[Tensor, Tensor]:
    """Share each color among its nearest bins, by a Gaussian of its distance (CIC, section 2.2).

    Args:
        ab: ``(B, 2, H, W)`` in [-1, 1].
        centers: ``(K, 2)``, as `bin_centers` returns them.
    Returns:
        The bins' numbers ``(B, NEAREST, H, W)`` int64, and their shares, which sum to 1.
    """
    colors = ab.permute(0, 2, 3, 1).float()  # (B, H, W, 2)
    distances, bins = torch.cdist(colors, centers.expand(len(ab), 1, -1, -1)).topk(NEAREST, largest=False)
    shares = (-(distances * AB_SCALE / SIGMA).square() / 2).softmax(-1)
    return bins.permute(0, 3, 1, 2), shares.permute(0, 3, 1, 2)


def annealed_mean(logits: Tensor, centers: Tensor, temperature: float) -> Tensor:
    """Turn logits into colors (CIC, section 2.3): 1 is the mean of the distribution, towards 0 its mode.

    Args:
        logits: ``(B, K, H, W)``.
        centers: ``(K, 2)``.
        temperature: above 0; CIC takes 0.38.
    Returns:
        ``(B, 2, H, W)`` in [-1, 1].
    """
    shares = (logits.float() / temperature).softmax(1)
    return torch.einsum("bkhw,kc->bchw", shares, centers)

"""Colorization as classification: the quantized ab plane of "Colorful Image Colorization" (CIC, Zhang et al. 2016)."""

import functools

import torch
from torch import Tensor

from colorize.lab import rgb_to_l_ab
from colorize.srgb import AB_SCALE

STEP = 10.0  # Lab units from one bin to the next
NEAREST = 5  # bins with nonzero probability in a color's soft target
SIGMA = 5.0  # Lab units, of the Gaussian that weights them
LEVELS = 86  # sampled values of each sRGB channel, every third of 256, to find the bins inside the gamut


@functools.cache
def bin_centers() -> Tensor:
    """Return the centers of the bins that contain sRGB colors: ``(261, 2)`` normalized ab, multiples of 10 / 110.

    CIC has 313 bins, including those that the gamut only touches.
    """
    with torch.device("cpu"):  # networks may be built on the meta device
        levels = torch.linspace(0, 1, LEVELS)
        rgb = torch.stack(torch.meshgrid(levels, levels, levels, indexing="ij")).reshape(1, 3, LEVELS, -1)
        ab = rgb_to_l_ab(rgb)[1].flatten(2)[0].T * AB_SCALE
        return (ab / STEP).round().unique(dim=0) * STEP / AB_SCALE


def soft_targets(ab: Tensor, centers: Tensor) -> tuple[Tensor, Tensor]:
    """Compute soft targets: each color's nearest bins, weighted by a Gaussian of the distance (CIC, section 2.2).

    Args:
        ab: ``(B, 2, H, W)`` in [-1, 1].
        centers: ``(K, 2)``, see `bin_centers`.
    Returns:
        The bins' indices ``(B, NEAREST, H, W)`` int64, and their probabilities of the same shape, which sum to 1.
    """
    colors = ab.permute(0, 2, 3, 1).float()  # (B, H, W, 2)
    distances, bins = torch.cdist(colors, centers.expand(len(ab), 1, -1, -1)).topk(NEAREST, largest=False)
    shares = (-(distances * AB_SCALE / SIGMA).square() / 2).softmax(-1)
    return bins.permute(0, 3, 1, 2), shares.permute(0, 3, 1, 2)


def annealed_mean(logits: Tensor, centers: Tensor, temperature: float) -> Tensor:
    """Convert logits to colors by the annealed mean (CIC, section 2.3).

    Args:
        logits: ``(B, K, H, W)``.
        centers: ``(K, 2)``, see `bin_centers`.
        temperature: above 0; 1 gives the mean of the distribution, values near 0 its mode; CIC uses 0.38.
    Returns:
        ``(B, 2, H, W)`` in [-1, 1].
    """
    shares = (logits.float() / temperature).softmax(1)
    return torch.einsum("bkhw,kc->bchw", shares, centers)

"""Regional errors of chroma: across the borders of objects, and over large areas."""

import torch
import torch.nn.functional as F
from torch import Tensor

CELLS = 8  # side of the grid of cells that blobs are measured on


def border_jump(ab: Tensor, mask: Tensor, band: int = 4) -> Tensor:
    """Compute how much chroma changes across the border of an object.

    At each border pixel of the mask, the mean ab of the mask's pixels within ``band`` rows and columns is compared with
    that of the other pixels in this window. If colors bleed, both sides have the same color and the jump is near 0.

    Args:
        ab: ``(2, H, W)``.
        mask: ``(H, W)`` bool.
        band: half the side of the window, in pixels.
    Returns:
        scalar, the mean distance over the border, in the units of ``ab``; NaN if there is no border.
    """
    inside = mask.to(ab.dtype)
    window = 2 * band + 1
    sums = F.avg_pool2d(
        torch.cat([ab * inside, ab * (1 - inside), inside[None], 1 - inside[None]])[None], window, 1, band
    )[0]
    means_in, means_out = sums[:2] / sums[4:5], sums[2:4] / sums[5:6]
    return (means_in - means_out)[:, _border(mask)].norm(dim=0).mean()


def _border(mask: Tensor) -> Tensor:
    """Return the border: the mask's pixels with a neighbor above, below, left or right that is outside the mask."""
    padded = F.pad(mask[None, None].float(), (1, 1, 1, 1), mode="replicate")[0, 0] > 0
    whole = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~whole


def blob_energy(ab_pred: Tensor, ab_true: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the error of chroma over large areas: that of the means over 8x8 cells.

    Args:
        ab_pred: ``(B, 2, H, W)``.
        ab_true: same as ``ab_pred``.
    Returns:
        ``(B,)`` each: the mean squared error of each image, and that of grey. The ratio of their sums is 1 if large
        areas are as wrong as grey, and above 1 if blobs make them worse.
    """
    error, truth = (F.adaptive_avg_pool2d(x, CELLS).square().mean((1, 2, 3)) for x in (ab_pred - ab_true, ab_true))
    return error, truth

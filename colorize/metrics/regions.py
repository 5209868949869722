"""Where chroma is wrong: across the borders of things, and over large areas."""

import torch
import torch.nn.functional as F
from torch import Tensor

CELLS = 8  # a side, that blobs are looked for on


def border_jump(ab: Tensor, mask: Tensor, band: int = 4) -> Tensor:
    """Measure how far chroma changes across the border of a thing.

    At each pixel of the mask that has a neighbor outside, the mean ab of the mask's pixels at most ``band`` pixels
    away, in rows and in columns, is compared with that of the other pixels as near. A method whose colors spill has the
    same color on both sides, and a jump near 0.

    Args:
        ab: ``(2, H, W)``.
        mask: ``(H, W)`` bool.
        band: pixels.
    Returns:
        scalar, the mean distance over the border, in the units of ``ab``; NaN where there is no border.
    """
    inside = mask.to(ab.dtype)
    window = 2 * band + 1
    sums = F.avg_pool2d(
        torch.cat([ab * inside, ab * (1 - inside), inside[None], 1 - inside[None]])[None], window, 1, band
    )[0]
    means_in, means_out = sums[:2] / sums[4:5], sums[2:4] / sums[5:6]
    return (means_in - means_out)[:, _border(mask)].norm(dim=0).mean()


def _border(mask: Tensor) -> Tensor:
    """Return the mask's pixels that have a neighbor above, below, left or right outside of it."""
    padded = F.pad(mask[None, None].float(), (1, 1, 1, 1), mode="replicate")[0, 0] > 0
    whole = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~whole


def blob_energy(ab_pred: Tensor, ab_true: Tensor) -> tuple[Tensor, Tensor]:
    """Measure the error of chroma over large areas: on means over 8x8 cells.

    Args:
        ab_pred: ``(B, 2, H, W)``.
        ab_true: the same.
    Returns:
        ``(B,)`` each: the mean squared error of each image, and that of grey. The ratio of their sums is 1 for a method
        whose large areas are as wrong as without color, and above 1 where blobs make them worse.
    """
    error, truth = (F.adaptive_avg_pool2d(x, CELLS).square().mean((1, 2, 3)) for x in (ab_pred - ab_true, ab_true))
    return error, truth

"""One chroma gain for a whole set: L1 at the true images' colorfulness, and a model's default gain."""

import torch
from torch import Tensor

from colorize.lab import l_ab_to_rgb, to_uint8
from colorize.metrics.image import colorfulness_abs

PIXELS = 32  # side that images are subsampled to, with a stride: all pixels of 256x256 would take 64 times as long
GAINS = tuple(2 ** (step / 16) for step in range(-32, 49))  # 1/4 to 8; L1 is measured at each
RARER = 4  # colorfulness is measured at every fourth gain: it is slower and nearly linear in the gain
COLORED = GAINS[::RARER]
SUMS = 2 + len(COLORED) + len(GAINS)
CALIBRATED = 0.9  # fraction of the true colorfulness; below 1 by choice, since a gain amplifies wrong hues too


@torch.no_grad()
def gain_sums(L: Tensor, ab_pred: Tensor, ab_true: Tensor) -> Tensor:
    """Compute the sums over images that `l1_at_cf` and `calibrated_gain` need.

    Args:
        L: ``(B, 1, H, W)`` in [-1, 1].
        ab_pred: ``(B, 2, H, W)`` in [-1, 1].
        ab_true: same as ``ab_pred``.
    Returns:
        ``(SUMS,)`` float32: the number of images, then sums over images of `colorfulness_abs` of the true image, of
        `colorfulness_abs` of the output at each gain of ``COLORED``, and of the output's L1 at each of ``GAINS``.
    """
    step = max(1, min(L.shape[-2:]) // PIXELS)
    L, ab_pred, ab_true = (x[..., ::step, ::step].float().contiguous() for x in (L, ab_pred, ab_true))
    colors = [colorfulness_abs(to_uint8(l_ab_to_rgb(L, ab))).sum() for ab in (ab_true, *(g * ab_pred for g in COLORED))]
    errors = [(gain * ab_pred - ab_true).abs_().mean() * len(L) for gain in GAINS]
    return torch.stack([torch.full_like(errors[0], len(L)), *colors, *errors])


def l1_at_cf(sums: Tensor) -> Tensor:
    """Compute the L1 of a set of images at the chroma gain that makes their mean colorfulness equal to the true one.

    Both are interpolated between gains: an L1 above 0.03 is accurate to about 1%, a smaller one is up to 0.005 too
    high. Chroma is not clipped after the gain.

    Args:
        sums: of `gain_sums`, summed over batches.
    Returns:
        scalar; NaN if no gain from 1/4 to 8 reaches the true colorfulness, as for grey outputs.
    """
    gain = _gain(sums, 1.0)
    errors, gains = (sums[1:] / sums[0])[1 + len(COLORED) :], sums.new_tensor(GAINS)
    high = torch.searchsorted(gains, gain).clamp(1, len(GAINS) - 1)
    weight = (gain - gains[high - 1]) / (gains[high] - gains[high - 1])
    return torch.lerp(errors[high - 1], errors[high], weight).squeeze()


def calibrated_gain(sums: Tensor) -> Tensor:
    """Compute the chroma gain that brings the mean colorfulness of a set to ``CALIBRATED`` times the true one.

    Args:
        sums: of `gain_sums`, summed over batches.
    Returns:
        scalar; NaN if no gain from 1/4 to 8 does.
    """
    return _gain(sums, CALIBRATED).squeeze()


def _gain(sums: Tensor, share: float) -> Tensor:
    """Return the gain ``(1,)`` that brings mean colorfulness to ``share`` times the true one, or NaN."""
    target, colors = (sums[1 : 2 + len(COLORED)] / sums[0]).split([1, len(COLORED)])
    target = share * target
    gains = sums.new_tensor(COLORED)
    below = (colors < target).cumprod(0).sum()
    reached = (below > 0) & (below < len(COLORED))
    high = below.clamp(1, len(COLORED) - 1)
    weight = (target - colors[high - 1]) / (colors[high] - colors[high - 1])
    return torch.where(reached, torch.lerp(gains[high - 1], gains[high], weight), torch.nan)

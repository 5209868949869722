"""One gain of chroma for a whole set: L1 at the truth's colorfulness, and how vivid a model is by default."""

import torch
from torch import Tensor

from colorize.lab import l_ab_to_rgb, to_uint8
from colorize.metrics.image import colorfulness_abs

PIXELS = 32  # a side, that both are measured on, taken at equal distances: all of 256x256 take 64 times as long
GAINS = tuple(2 ** (step / 16) for step in range(-32, 49))  # 1/4 to 8; L1 is measured at each
RARER = 4  # colorfulness, which takes longer and is nearly linear in the gain, at every fourth
COLORED = GAINS[::RARER]
SUMS = 2 + len(COLORED) + len(GAINS)
CALIBRATED = (
    0.9  # share of the truth's colorfulness; a choice, below 1 because a gain makes wrong hues as vivid as right ones
)


@torch.no_grad()
def gain_sums(L: Tensor, ab_pred: Tensor, ab_true: Tensor) -> Tensor:
    """Sum up over images what `l1_at_cf` needs.

    Args:
        L: ``(B, 1, H, W)`` in [-1, 1].
        ab_pred: ``(B, 2, H, W)`` in [-1, 1].
        ab_true: the same.
    Returns:
        ``(SUMS,)`` float32: the number of images, and sums over them of the truth's `colorfulness_abs`, that of the
        outputs with their chroma times each of ``COLORED``, and their L1 with it times each of ``GAINS``.
    """
    step = max(1, min(L.shape[-2:]) // PIXELS)
    L, ab_pred, ab_true = (x[..., ::step, ::step].float().contiguous() for x in (L, ab_pred, ab_true))
    colors = [colorfulness_abs(to_uint8(l_ab_to_rgb(L, ab))).sum() for ab in (ab_true, *(g * ab_pred for g in COLORED))]
    errors = [(gain * ab_pred - ab_true).abs_().mean() * len(L) for gain in GAINS]
    return torch.stack([torch.full_like(errors[0], len(L)), *colors, *errors])


def l1_at_cf(sums: Tensor) -> Tensor:
    """Give the L1 of a set of images after the one gain of chroma that brings their mean colorfulness to the truth's.

    Both are interpolated between the gains: an L1 above 0.03 is right to about 1%, a smaller one up to 0.005 too high.
    The chroma after the gain is not clipped.

    Args:
        sums: of `gain_sums`, added up over batches.
    Returns:
        scalar; NaN if no gain from 1/4 to 8 reaches the truth's colorfulness, as of a grey output.
    """
    gain = _gain(sums, 1.0)
    errors, gains = (sums[1:] / sums[0])[1 + len(COLORED) :], sums.new_tensor(GAINS)
    high = torch.searchsorted(gains, gain).clamp(1, len(GAINS) - 1)
    weight = (gain - gains[high - 1]) / (gains[high] - gains[high - 1])
    return torch.lerp(errors[high - 1], errors[high], weight).squeeze()


def calibrated_gain(sums: Tensor) -> Tensor:
    """Give the gain of chroma that brings the mean colorfulness of a set to ``CALIBRATED`` of the truth's.

    Args:
        sums: of `gain_sums`, added up over batches.
    Returns:
        scalar; NaN if no gain from 1/4 to 8 does.
    """
    return _gain(sums, CALIBRATED).squeeze()


def _gain(sums: Tensor, share: float) -> Tensor:
    """Return ``(1,)``: the gain that brings mean colorfulness to a share of the truth's, or NaN."""
    target, colors = (sums[1 : 2 + len(COLORED)] / sums[0]).split([1, len(COLORED)])
    target = share * target
    gains = sums.new_tensor(COLORED)
    below = (colors < target).cumprod(0).sum()
    reached = (below > 0) & (below < len(COLORED))
    high = below.clamp(1, len(COLORED) - 1)
    weight = (target - colors[high - 1]) / (colors[high] - colors[high - 1])
    return torch.where(reached, torch.lerp(gains[high - 1], gains[high], weight), torch.nan)

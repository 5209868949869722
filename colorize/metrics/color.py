"""Color metrics in CIE Lab: distances to the true colors, and the share of colors outside the sRGB gamut."""

import math

import torch
from torch import Tensor

from colorize.lab import l_ab_to_lab, out_of_gamut

TURN, DEGREE = 2 * math.pi, math.pi / 180  # radians
TINY = 30  # exponents are clamped here: e**-30 changes no sum, and denormal numbers would be 50 times as slow


@torch.no_grad()
def ciede2000(lab1: Tensor, lab2: Tensor) -> Tensor:
    """Compute the color difference CIEDE2000 of each pixel, by the formulas of Sharma, Wu and Dalal 2005.

    A difference of about 1 is just noticeable. It is computed in the inputs' dtype, without a gradient; grey pixels,
    whose hue is undefined, are treated as in the paper.

    Args:
        lab1: ``(B, 3, H, W)`` float CIE Lab, L* in [0, 100].
        lab2: same as ``lab1``.
    Returns:
        ``(B, H, W)``, at least 0.
    Raises:
        ValueError: if the two are not 4-D with 3 channels and the same shape.
    """
    if lab1.ndim != 4 or lab1.shape[1] != 3 or lab1.shape != lab2.shape:
        raise ValueError(f"expected two (B, 3, H, W) of one shape; got {tuple(lab1.shape)} and {tuple(lab2.shape)}")
    (L1, a1, b1), (L2, a2, b2) = lab1.unbind(1), lab2.unbind(1)  # (B, H, W) each
    # Intermediate results are overwritten: a third faster if planes do not fit into a core's cache
    chroma = _chroma(a1, b1).add_(_chroma(a2, b2)).div_(2)
    stretch = _high_chroma(chroma).mul_(-0.5).add_(1.5)
    a1, a2 = a1 * stretch, a2 * stretch
    C1, C2 = _chroma(a1, b1), _chroma(a2, b2)
    h1, h2 = _hue(a1, b1), _hue(a2, b2)

    turn = h2 - h1
    turn.sub_((turn / TURN).round_(), alpha=TURN).div_(2)  # half of the shorter arc; half a turn keeps its sign
    dL, dC, dH = L2 - L1, C2 - C1, (C1 * C2).sqrt_().mul_(turn.sin()).mul_(2)  # for grey dH is 0 and h has no effect

    L, C, h = (L1 + L2).div_(2), C1.add_(C2).div_(2), h1.add_(turn)
    h.sub_((h / TURN).floor_(), alpha=TURN)
    T = (h - 30 * DEGREE).cos_().mul_(-0.17).add_(1)
    T.add_((2 * h).cos_(), alpha=0.24)
    T.add_((3 * h).add_(6 * DEGREE).cos_(), alpha=0.32)
    T.add_((4 * h).sub_(63 * DEGREE).cos_(), alpha=-0.20)
    blue = h.sub_(275 * DEGREE).div_(25 * DEGREE).square_().clamp_(max=TINY).neg_().exp_()
    rotation = blue.mul_(60 * DEGREE).sin_().mul_(_high_chroma(C)).mul_(-2)
    middle = L.sub_(50).square_()
    lightness = dL.div_((0.015 * middle).div_(middle.add_(20).sqrt_()).add_(1))
    hue = dH.div_(T.mul_(C).mul_(0.015).add_(1))
    chroma = dC.div_(C.mul_(0.045).add_(1))
    squared = rotation.mul_(chroma).mul_(hue).add_(lightness.square_()).add_(chroma.square_()).add_(hue.square_())
    return squared.clamp_(min=0).sqrt_()  # rounding may leave -1e-17


def _high_chroma(C: Tensor) -> Tensor:
    """Compute the high-chroma weight: 0 for grey, 0.5 at chroma 21.4, 1 in the limit."""
    ratio = (C / 25).clamp_(min=1e-4)
    squared = ratio * ratio
    seventh = ratio.mul_(squared).mul_(squared.square_())
    return seventh.div_(seventh + 1).sqrt_()


def _chroma(a: Tensor, b: Tensor) -> Tensor:
    return (a * a).addcmul_(b, b).sqrt_()  # hypot() takes 4 times as long


def _hue(a: Tensor, b: Tensor) -> Tensor:
    angle = torch.atan2(b, a)
    return angle.sub_((angle / TURN).floor_(), alpha=TURN)  # remainder() takes 4 times as long


def delta_e(L: Tensor, ab_pred: Tensor, ab_true: Tensor) -> Tensor:
    """Compute the mean CIEDE2000 of each image between predicted and true colors of the same lightness.

    Args:
        L: ``(B, 1, H, W)`` in [-1, 1].
        ab_pred: ``(B, 2, H, W)`` in [-1, 1].
        ab_true: same as ``ab_pred``.
    Returns:
        ``(B,)`` float32, at least 0.
    Raises:
        ValueError: if the shapes do not match.
    """
    return ciede2000(l_ab_to_lab(L, ab_pred), l_ab_to_lab(L, ab_true)).mean((1, 2))


def l1(ab_pred: Tensor, ab_true: Tensor) -> Tensor:
    """Compute the mean absolute error of each image's normalized chroma.

    Args:
        ab_pred: ``(B, 2, H, W)`` in [-1, 1].
        ab_true: same as ``ab_pred``.
    Returns:
        ``(B,)`` float32 in [0, 2].
    Raises:
        ValueError: if the two are not 4-D with 2 channels and the same shape.
    """
    if ab_pred.ndim != 4 or ab_pred.shape[1] != 2 or ab_pred.shape != ab_true.shape:
        got = f"{tuple(ab_pred.shape)} and {tuple(ab_true.shape)}"
        raise ValueError(f"expected two (B, 2, H, W) of one shape; got {got}")
    return (ab_pred.float() - ab_true.float()).abs().mean((1, 2, 3))


def out_of_gamut_share(L: Tensor, ab: Tensor) -> Tensor:
    """Compute the fraction of each image's pixels whose color is outside the sRGB gamut.

    Args:
        L: ``(B, 1, H, W)`` in [-1, 1].
        ab: ``(B, 2, H, W)`` in [-1, 1].
    Returns:
        ``(B,)`` float32 in [0, 1].
    Raises:
        ValueError: if the shapes do not match.
    """
    return out_of_gamut(L, ab).float().mean((1, 2))

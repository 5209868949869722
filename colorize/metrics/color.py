"""Scores of colour itself, in CIE Lab: how far a colour is from the right one, and whether sRGB can show it."""

import torch
from torch import Tensor

from colorize.lab import l_ab_to_lab, out_of_gamut

TINY = 30  # e**-30 changes no sum; denormal numbers, which take processors 50 times as long, do not arise


def ciede2000(lab1: Tensor, lab2: Tensor) -> Tensor:
    """Colour difference CIEDE2000 of each pixel, by the formulas of Sharma, Wu and Dalal 2005.

    About 1 is just noticeable. It is computed in the type that is given; grey pixels, whose hue is undefined,
    are treated as the paper says.

    Args:
        lab1: ``(B, 3, H, W)`` float CIE Lab, L* in [0, 100].
        lab2: the same.
    Returns:
        ``(B, H, W)``, at least 0.
    Raises:
        ValueError: if the two are not 4-D with 3 channels and of one shape.
    """
    if lab1.ndim != 4 or lab1.shape[1] != 3 or lab1.shape != lab2.shape:
        raise ValueError(f"expected two (B, 3, H, W) of one shape; got {tuple(lab1.shape)} and {tuple(lab2.shape)}")
    (L1, a1, b1), (L2, a2, b2) = lab1.unbind(1), lab2.unbind(1)  # (B, H, W) each
    stretch = 1.5 - 0.5 * _high_chroma((torch.hypot(a1, b1) + torch.hypot(a2, b2)) / 2)
    a1, a2 = a1 * stretch, a2 * stretch
    C1, C2 = torch.hypot(a1, b1), torch.hypot(a2, b2)
    h1, h2 = _hue(a1, b1), _hue(a2, b2)

    turn = h2 - h1
    turn = turn - 360 * (turn / 360).round()  # the short way; half a turn goes as it is
    dL, dC, dH = L2 - L1, C2 - C1, 2 * (C1 * C2).sqrt() * _sin(turn / 2)  # of grey dH is 0, and h does not matter

    L, C, h = (L1 + L2) / 2, (C1 + C2) / 2, h1 + turn / 2
    h = h - 360 * (h / 360).floor()  # remainder() takes 4 times as long
    T = 1 - 0.17 * _cos(h - 30) + 0.24 * _cos(2 * h) + 0.32 * _cos(3 * h + 6) - 0.20 * _cos(4 * h - 63)
    lightness = dL / (1 + 0.015 * (L - 50).square() / (20 + (L - 50).square()).sqrt())
    chroma = dC / (1 + 0.045 * C)
    hue = dH / (1 + 0.015 * C * T)
    rotation = -2 * _high_chroma(C) * _sin(60 * torch.exp(-((h - 275) / 25).square().clamp(max=TINY)))
    squared = lightness.square() + chroma.square() + hue.square() + rotation * chroma * hue
    return squared.clamp(min=0).sqrt()  # rounding may leave -1e-17


def _high_chroma(C: Tensor) -> Tensor:
    """Rise from 0 at grey to 1 at high chroma, one half at 21.4."""
    ratio = (C / 25).clamp(min=1e-4)
    seventh = ratio.square().square() * ratio.square() * ratio
    return (seventh / (seventh + 1)).sqrt()


def _hue(a: Tensor, b: Tensor) -> Tensor:
    degrees = torch.atan2(b, a).rad2deg()
    return degrees + 360 * (degrees < 0)


def _sin(degrees: Tensor) -> Tensor:
    return degrees.deg2rad().sin()


def _cos(degrees: Tensor) -> Tensor:
    return degrees.deg2rad().cos()


def delta_e(L: Tensor, ab_pred: Tensor, ab_true: Tensor) -> Tensor:
    """Mean CIEDE2000 of each image between predicted and true colours of the same lightness.

    Args:
        L: ``(B, 1, H, W)`` in [-1, 1].
        ab_pred: ``(B, 2, H, W)`` in [-1, 1].
        ab_true: the same.
    Returns:
        ``(B,)`` float32, at least 0.
    Raises:
        ValueError: if the shapes do not fit each other.
    """
    return ciede2000(l_ab_to_lab(L, ab_pred), l_ab_to_lab(L, ab_true)).mean((1, 2))


def l1(ab_pred: Tensor, ab_true: Tensor) -> Tensor:
    """Mean absolute error of each image's normalised chroma.

    Args:
        ab_pred: ``(B, 2, H, W)`` in [-1, 1].
        ab_true: the same.
    Returns:
        ``(B,)`` float32 in [0, 2].
    Raises:
        ValueError: if the two are not 4-D with 2 channels and of one shape.
    """
    if ab_pred.ndim != 4 or ab_pred.shape[1] != 2 or ab_pred.shape != ab_true.shape:
        got = f"{tuple(ab_pred.shape)} and {tuple(ab_true.shape)}"
        raise ValueError(f"expected two (B, 2, H, W) of one shape; got {got}")
    return (ab_pred.float() - ab_true.float()).abs().mean((1, 2, 3))


def out_of_gamut_share(L: Tensor, ab: Tensor) -> Tensor:
    """Share of each image's pixels whose colour sRGB cannot show.

    Args:
        L: ``(B, 1, H, W)`` in [-1, 1].
        ab: ``(B, 2, H, W)`` in [-1, 1].
    Returns:
        ``(B,)`` float32 in [0, 1].
    Raises:
        ValueError: if the shapes do not fit each other.
    """
    return out_of_gamut(L, ab).float().mean((1, 2))

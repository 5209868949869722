"""Colorfulness as a loss."""

from torch import Tensor

from colorize.lab import l_ab_to_rgb
from colorize.metrics.image import hasler_suesstrunk

SCALE = 100.0  # divisor of colorfulness, as in DDColor (Kang et al. 2023)
SMOOTH = 1e-2  # added under square roots, whose gradient at grey, where training may start, is infinite


def colorfulness_distance(L: Tensor, fake_ab: Tensor, ab: Tensor) -> Tensor:
    """Compute the mean absolute difference of generated and true images in colorfulness, a scalar.

    DDColor maximizes colorfulness, which has no upper bound and shifts colors to red; here the true colorfulness is
    the target.

    Args:
        L: ``(B, 1, H, W)`` in [-1, 1].
        fake_ab: ``(B, 2, H, W)`` generated chroma.
        ab: ``(B, 2, H, W)`` true chroma.
    """
    fake, real = (hasler_suesstrunk(255 * l_ab_to_rgb(L, chroma), SMOOTH) for chroma in (fake_ab, ab))
    return (fake - real).abs().mean() / SCALE

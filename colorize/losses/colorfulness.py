"""Colorfulness as a loss."""

from torch import Tensor

from colorize.lab import l_ab_to_rgb
from colorize.metrics.image import hasler_suesstrunk

SCALE = 100.0  # of colorfulness, as DDColor divides it (Kang et al. 2023)
SMOOTH = 1e-2  # added under roots: their slope at grey, where training may start, is infinite


def colorfulness_distance(L: Tensor, fake_ab: Tensor, ab: Tensor) -> Tensor:
    """Return how far each image's colorfulness is from its truth's, a scalar.

    DDColor maximizes colorfulness, which has no end and reddens; here the truth's is the aim.

    Args:
        L: ``(B, 1, H, W)`` in [-1, 1].
        fake_ab: ``(B, 2, H, W)`` generated chroma.
        ab: the same of true chroma.
    """
    fake, real = (hasler_suesstrunk(255 * l_ab_to_rgb(L, chroma), SMOOTH) for chroma in (fake_ab, ab))
    return (fake - real).abs().mean() / SCALE

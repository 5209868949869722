"""Augmentations of the discriminator's inputs, so that it does not memorize the training set.

Every operation is twice differentiable, as gradient penalties require.
"""

from collections.abc import Callable

import torch
from torch import Tensor

SHIFT = 1 / 8  # of the side, either way (Zhao et al. 2020)
CUT = 1 / 2  # of the side


def translate(x: Tensor) -> Tensor:
    """Shift each image by up to an eighth of its sides; pixels shifted in from outside are 0, a middle grey.

    Args:
        x: ``(B, C, H, W)``.
    """
    for axis in (2, 3):
        side = x.shape[axis]
        most = round(side * SHIFT)
        shift = torch.randint(-most, most + 1, (len(x), 1), device=x.device)
        source = torch.arange(side, device=x.device) + shift  # (B, side)
        inside = (source >= 0) & (source < side)
        shape = [len(x), 1, 1, 1]
        shape[axis] = side
        source, inside = source.clamp(0, side - 1).view(shape), inside.view(shape)
        x = x.gather(axis, source.expand_as(x)) * inside
    return x


def cut_out(x: Tensor) -> Tensor:
    """Set a rectangle of half the height and width to 0, at a random place in each image; it may cross the edge.

    Args:
        x: ``(B, C, H, W)``.
    """
    inside = torch.ones((), dtype=torch.bool, device=x.device)
    for axis in (2, 3):
        side = x.shape[axis]
        length = round(side * CUT)
        start = torch.randint(side + 1, (len(x), 1), device=x.device) - length // 2
        place = torch.arange(side, device=x.device)
        shape = [len(x), 1, 1, 1]
        shape[axis] = side
        inside = inside & ((place >= start) & (place < start + length)).view(shape)
    return x * ~inside


# DiffAugment (Zhao et al. 2020) without its color changes: colors are what D judges
DIFFAUGMENT: dict[str, Callable[[Tensor], Tensor]] = {"translation": translate, "cutout": cut_out}

"""Losses: tensors in, scalars out; built by name."""

from typing import Any

from torch import nn

from colorize.base.registry import Registry
from colorize.losses.gan import MODES, GANLoss
from colorize.losses.objective import GanL1

__all__ = ["LOSSES", "MODES", "GANLoss", "build_loss"]

LOSSES = Registry("loss")
LOSSES.register("gan_l1")(GanL1)


def build_loss(name: str, **kwargs: Any) -> nn.Module:
    """Build a training objective with the methods ``discriminator`` and ``generator`` of `GanL1`.

    Raises:
        UserError: if the name, an argument or the ``gan_mode`` is unknown.
    """
    return LOSSES.build(name, **kwargs)

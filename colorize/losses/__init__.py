"""Losses: tensors in, scalars out; built by name."""

from typing import Any

from colorize.base.registry import Registry
from colorize.losses.contract import Objective
from colorize.losses.gan import MODES, GANLoss
from colorize.losses.objective import GanL1

__all__ = ["LOSSES", "MODES", "GANLoss", "Objective", "build_loss"]

LOSSES = Registry("loss")
LOSSES.register("gan_l1")(GanL1)


def build_loss(name: str, **kwargs: Any) -> Objective:
    """Build a training objective.

    Raises:
        UserError: if the name, an argument or the ``gan_mode`` is unknown.
    """
    return LOSSES.build(name, **kwargs)

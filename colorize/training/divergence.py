"""The error that ends training when a loss or a weight becomes NaN or infinite."""

import torch
from torch import nn

from colorize.base.errors import UserError


class TrainingDivergedError(UserError):
    """A loss or a weight became NaN or infinite; nothing was stepped or saved after that."""

    def __init__(self, complaint: str) -> None:
        super().__init__(
            f"{complaint}: nothing was stepped or saved after that; "
            "the last checkpoint is from before it; try a lower lr"
        )


def infinite_weight(network: nn.Module) -> str | None:
    """Return the name of a weight with a non-finite value, or ``None``; synchronizes the device."""
    if torch.nn.utils.get_total_norm(network.parameters()).isfinite():
        return None
    found = (name for name, value in network.named_parameters() if not value.isfinite().all())
    return next(found, "the norm of all weights")

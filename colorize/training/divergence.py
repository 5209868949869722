"""What ends training where a loss or a weight is no longer a number."""

import torch
from torch import nn

from colorize.base.errors import UserError


class TrainingDivergedError(UserError):
    """A loss or a weight is no longer a number; nothing was stepped or saved from there on."""

    def __init__(self, complaint: str) -> None:
        super().__init__(
            f"{complaint}: nothing was stepped or saved from there on; "
            "the last checkpoint is from before; try a lower lr"
        )


def infinite_weight(network: nn.Module) -> str | None:
    """Return the name of a weight that holds what is no number, if there is one; waits for the device."""
    if torch.nn.utils.get_total_norm(network.parameters()).isfinite():
        return None
    found = (name for name, value in network.named_parameters() if not value.isfinite().all())
    return next(found, "the norm of all weights")

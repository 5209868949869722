"""Learning rates over the training, as pure functions of the epoch, so that a resumed run has the right one."""

import math
from collections.abc import Callable

from colorize.errors import UserError


def constant(epoch: int, epochs: int) -> float:
    """The report's: the same in every epoch."""
    return 1.0


def linear(epoch: int, epochs: int) -> float:
    """Constant for the first half, then in equal steps towards 0, which it does not reach (Isola et al. 2017)."""
    held = epochs // 2
    return 1 - max(0, epoch + 1 - held) / (epochs - held + 1)


def cosine(epoch: int, epochs: int) -> float:
    """Half a cosine wave from 1 towards 0 (Loshchilov & Hutter 2017, without restarts)."""
    return (1 + math.cos(math.pi * epoch / epochs)) / 2


SCHEDULES: dict[str, Callable[[int, int], float]] = {"constant": constant, "linear": linear, "cosine": cosine}


def schedule_of(name: str) -> Callable[[int, int], float]:
    """Return a schedule: epoch from 0 and number of epochs to the share of the learning rate, in (0, 1].

    Raises:
        UserError: if the name is unknown.
    """
    if name not in SCHEDULES:
        raise UserError(f"unknown optim.schedule {name!r}; choose one of {list(SCHEDULES)}")
    return SCHEDULES[name]

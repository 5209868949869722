"""Learning rates over the training, as pure functions of the epoch, so that a resumed run has the right one."""

import math
from collections.abc import Callable

from colorize.base.checks import one_of

Schedule = Callable[[float, int], float]  # epoch from 0, perhaps within one, and number of epochs; to a share
BY_THE_CLOCK = 100  # "epochs" of a run that ends by the clock: each is one hundredth of its minutes


def constant(epoch: float, epochs: int) -> float:
    """The report's: the same in every epoch."""
    return 1.0


def linear(epoch: float, epochs: int) -> float:
    """Constant for the first half, then in equal steps, one an epoch, towards 0 (Isola et al. 2017)."""
    held = epochs // 2
    return 1 - max(0, math.floor(epoch) + 1 - held) / (epochs - held + 1)


def cosine(epoch: float, epochs: int) -> float:
    """Half a cosine wave from 1 towards 0, in a step an epoch (Loshchilov & Hutter 2017, without restarts)."""
    return (1 + math.cos(math.pi * math.floor(epoch) / epochs)) / 2


def one_cycle(epoch: float, epochs: int, peak: float = 0.3, start: float = 1 / 25, end: float = 1e-4 / 25) -> float:
    """Up to 1 and down to nearly 0, batch by batch, each way half a cosine wave (Smith 2018).

    The defaults are those of `torch.optim.lr_scheduler.OneCycleLR`; Adam's moments stay as they are.

    Args:
        epoch: from 0, with its fraction.
        epochs: in all.
        peak: share of the training at which the rate is highest.
        start: share of the rate at the start.
        end: share of it at the end.
    """
    done = epoch / epochs
    low, way = (start, done / peak) if done < peak else (end, (1 - done) / (1 - peak))
    return low + (1 - low) * (1 - math.cos(math.pi * way)) / 2


SCHEDULES: dict[str, Schedule] = {"constant": constant, "linear": linear, "cosine": cosine, "one_cycle": one_cycle}


def schedule_of(name: str) -> Schedule:
    """Return a schedule: epoch from 0, perhaps within one, and number of epochs to the share of the rate, in (0, 1].

    Raises:
        UserError: if the name is unknown.
    """
    return SCHEDULES[one_of("optim.schedule", name, SCHEDULES)]


def position(epoch: float, max_epochs: int | None, time_used: float | None) -> tuple[float, int]:
    """Return where training is, as a schedule takes it: epoch, with its fraction, and number of epochs.

    Args:
        epoch: that runs, from 0, with the share of its batches that are done.
        max_epochs: of the run; ``None`` or -1 for no such end.
        time_used: share in [0, 1] of the minutes that the run has; ``None`` if no clock ends it. With one, each
            hundredth of them counts as an epoch.
    """
    if time_used is None:
        return epoch, max(1, max_epochs or 1)
    return time_used * BY_THE_CLOCK, BY_THE_CLOCK

"""Learning-rate schedules, as pure functions of the epoch, so that a resumed run has the right learning rate."""

import math
from collections.abc import Callable

from colorize.base.checks import one_of

Schedule = Callable[[float, int], float]  # (epoch from 0, may be fractional; number of epochs) to a factor of the rate
BY_THE_CLOCK = 100  # "epochs" of a run with a time limit: each is one hundredth of its minutes


def constant(epoch: float, epochs: int) -> float:
    """Keep the learning rate constant, as in the report."""
    return 1.0


def linear(epoch: float, epochs: int) -> float:
    """Keep the rate constant for the first half, then decrease it linearly to 0, once per epoch (Isola et al. 2017)."""
    held = epochs // 2
    return 1 - max(0, math.floor(epoch) + 1 - held) / (epochs - held + 1)


def cosine(epoch: float, epochs: int) -> float:
    """Decrease the rate along half a cosine to 0, once per epoch (Loshchilov & Hutter 2017, without restarts)."""
    return (1 + math.cos(math.pi * math.floor(epoch) / epochs)) / 2


def one_cycle(epoch: float, epochs: int, peak: float = 0.3, start: float = 1 / 25, end: float = 1e-4 / 25) -> float:
    """Increase the rate to 1, then decrease it to nearly 0, each along half a cosine, per batch (Smith 2018).

    The defaults are those of `torch.optim.lr_scheduler.OneCycleLR`; Adam's betas are not cycled.

    Args:
        epoch: from 0, with its fraction.
        epochs: total number of epochs.
        peak: fraction of the training at which the rate is highest.
        start: factor of the rate at the start.
        end: factor of the rate at the end.
    """
    done = epoch / epochs
    low, way = (start, done / peak) if done < peak else (end, (1 - done) / (1 - peak))
    return low + (1 - low) * (1 - math.cos(math.pi * way)) / 2


SCHEDULES: dict[str, Schedule] = {"constant": constant, "linear": linear, "cosine": cosine, "one_cycle": one_cycle}


def schedule_of(name: str) -> Schedule:
    """Return a schedule by name: it maps epoch (from 0, may be fractional) and number of epochs to a factor in (0, 1].

    Raises:
        UserError: if the name is unknown.
    """
    return SCHEDULES[one_of("optim.schedule", name, SCHEDULES)]


def position(epoch: float, max_epochs: int | None, time_used: float | None) -> tuple[float, int]:
    """Return the arguments of a schedule: the current epoch, with its fraction, and the number of epochs.

    Args:
        epoch: the current epoch, from 0, with the fraction of its batches that are done.
        max_epochs: of the run; ``None`` or -1 for no limit.
        time_used: fraction in [0, 1] of the run's minutes; ``None`` for no time limit. With a time limit, each
            hundredth of the minutes counts as an epoch.
    """
    if time_used is None:
        return epoch, max(1, max_epochs or 1)
    return time_used * BY_THE_CLOCK, BY_THE_CLOCK

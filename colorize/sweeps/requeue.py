"""Save a Slurm job that runs out of time before submitit requeues it."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

WARNING = signal.SIGUSR2  # sent by Slurm, as submitit configures, signal_delay_s before the time limit


@contextmanager
def saving_first() -> Iterator[None]:
    """Handle a scheduler's warning as training handles SIGTERM: save, exit, and only then requeue.

    submitit's handler requeues and exits in the middle of a batch, which would lose all progress since the last save.
    Without submitit, this does nothing.
    """
    requeue = signal.getsignal(WARNING)
    if not callable(requeue) or threading.current_thread() is not threading.main_thread():
        yield
        return
    idle, warned = signal.getsignal(signal.SIGTERM), []

    def receive(number: int, frame: Any) -> None:
        if signal.getsignal(signal.SIGTERM) is idle:  # training has not started, so there is nothing to save
            requeue(number, frame)
        warned.append(number)
        signal.raise_signal(signal.SIGTERM)

    signal.signal(WARNING, receive)
    try:
        yield
    finally:
        signal.signal(WARNING, requeue)
        if warned:
            requeue(WARNING, None)

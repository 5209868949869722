"""A Slurm job that runs out of time saves before submitit puts it back in the queue."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

WARNING = signal.SIGUSR2  # what submitit has Slurm send, signal_delay_s before the end


@contextmanager
def saving_first() -> Iterator[None]:
    """Answer a scheduler's warning as SIGTERM is answered in training: save, leave; only then requeue.

    submitit's own handler requeues and leaves in the middle of a batch, which would lose all since the last save.
    Without submitit nothing changes.
    """
    requeue = signal.getsignal(WARNING)
    if not callable(requeue) or threading.current_thread() is not threading.main_thread():
        yield
        return
    idle, warned = signal.getsignal(signal.SIGTERM), []

    def receive(number: int, frame: Any) -> None:
        if signal.getsignal(signal.SIGTERM) is idle:  # training has not begun: there is nothing to save
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

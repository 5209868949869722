"""What this machine offers: processor cores and memory."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container: microseconds of processor time, and of time


def cores() -> int:
    """Return how many cores this process may use: of its affinity, and within its container's quota."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = QUOTA.read_text().split()
    except (OSError, ValueError):
        return here
    return here if quota == "max" else max(1, min(here, round(int(quota) / int(period))))


def memory_available() -> int:
    """Return the bytes of memory that can be taken without swapping; 0 where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), 0)


def network_threads(count: int) -> None:
    """Let PyTorch, if it is loaded, compute on so many threads what this thread asks of it."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)


@contextmanager
def network_threads_kept() -> Iterator[None]:
    """Give this thread, when the body ends, as many threads of PyTorch as it had."""
    before = sys.modules["torch"].get_num_threads() if "torch" in sys.modules else 0
    try:
        yield
    finally:
        if before:
            network_threads(before)


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, for the next batch to take.

    glibc otherwise maps every large tensor anew and returns it page by page. Elsewhere this does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(-1, -1)  # M_TRIM_THRESHOLD: never give back the top of the heap
        mallopt(-4, 0)  # M_MMAP_MAX: no tensor outside of the heap

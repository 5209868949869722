"""Processor cores and memory available to this process, and control of threads and freed memory."""

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")  # control groups, as used by containers
QUOTA = GROUPS / "cpu.max"  # microseconds of processor time, and of the period
PROC = Path("/proc")


def cores() -> int:
    """Return the number of cores that this process may use, by its CPU affinity and its container's quota."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = QUOTA.read_text().split()
    except (OSError, ValueError):
        return here
    return here if quota == "max" else max(1, min(here, round(int(quota) / int(period))))


def memory_available() -> int:
    """Return the bytes of memory that this process can allocate without swapping; 0 if the system does not report it.

    Respects the limits of its control groups (version 1 or 2, including parent groups) and of its address space.
    """
    try:
        lines = (PROC / "meminfo").read_text().splitlines()
    except OSError:
        return 0
    free = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    return max(1, min([*free, *_left_in_groups(), *_left_of_addresses()])) if free else 0


def _left_in_groups() -> Iterator[int]:
    for line in (PROC / "self/cgroup").read_text().splitlines():
        _, controllers, name = line.split(":", 2)
        if not controllers:
            root, limit, used, cache = GROUPS, "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            root, limit, used, cache = (
                GROUPS / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file",
            )  # fmt: skip
        else:
            continue
        group = root / name.lstrip("/")
        for folder in (group, *group.parents)[: len(group.relative_to(root).parts) + 1]:
            with suppress(OSError, ValueError):  # not visible inside a container; "max" means no limit
                counts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
                taken = int((folder / used).read_text()) - int(counts.get(cache, 0))  # the file cache can be reclaimed
                yield int((folder / limit).read_text()) - taken


def _left_of_addresses() -> Iterator[int]:
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        yield limit - _pages(0)


def resident() -> int:
    """Return the resident memory of this process in bytes, or its peak where only that is reported."""
    try:
        return _pages(1)
    except OSError:
        return peak_resident()


def peak_resident() -> int:
    """Return the peak resident memory of this process in bytes."""
    with suppress(OSError, StopIteration):  # preferred: getrusage includes the peak of the parent process
        lines = (PROC / "self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _pages(column: int) -> int:
    return int((PROC / "self/statm").read_text().split()[column]) * resource.getpagesize()


def return_freed_memory() -> None:
    """Return freed memory that glibc keeps to the system. Does nothing without glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def network_threads(count: int) -> None:
    """Set the number of threads that PyTorch, if it is loaded, uses for calls from this thread."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)


@contextmanager
def network_threads_kept() -> Iterator[None]:
    """Restore this thread's number of PyTorch threads when the block ends."""
    before = sys.modules["torch"].get_num_threads() if "torch" in sys.modules else 0
    try:
        yield
    finally:
        if before:
            network_threads(before)


def keep_freed_memory() -> None:
    """Keep freed memory in this process, so that the next batch reuses it.

    glibc otherwise maps every large tensor anew and returns its pages to the system. Does nothing without glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(-1, -1)  # M_TRIM_THRESHOLD: never give back the top of the heap
        mallopt(-4, 0)  # M_MMAP_MAX: allocate all tensors on the heap


def end_with_parent() -> None:
    """End this process as soon as its parent ends, even if that is killed. Does nothing on other systems than Linux."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG

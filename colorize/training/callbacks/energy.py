"""Energy counters of the machine: RAPL for the CPU, NVML for the GPU."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

POWERCAP = Path("/sys/class/powercap")
JOULES = 3600  # per watt-hour


class Counter(NamedTuple):
    """A monotonic energy counter."""

    read: Callable[[], int]
    joules: float  # per count
    range: int | None = None  # counts after which it wraps around to 0


class EnergyMeter:
    """Measures watt-hours since its creation.

    A lower reading means that a counter wrapped around, so read it at least once per range: RAPL's is about 20 minutes
    at 200 W.

    Args:
        counters: as `package_counters` and `gpu_counters` return them.
    """

    def __init__(self, counters: Sequence[Counter]) -> None:
        self._counters = counters
        self._last = self._read()
        self._joules = 0.0

    def watt_hours(self) -> float | None:
        """Return the watt-hours so far; ``None`` if there are no counters or any reading has failed."""
        now = self._read()
        if now is None or self._last is None:
            self._last = None
            return None
        for counter, before, after in zip(self._counters, self._last, now, strict=True):
            risen = after - before if after >= before else after - before + (counter.range or 0)
            self._joules += counter.joules * risen
        self._last = now
        return self._joules / JOULES

    def _read(self) -> list[int] | None:
        try:
            return [counter.read() for counter in self._counters] or None
        except (OSError, ValueError, RuntimeError):
            return None


def package_counters(powercap: Path = POWERCAP) -> list[Counter]:
    """Return the counters of the CPU packages; empty without RAPL, or if only root may read it.

    Each counts its whole package, including other programs on the machine.
    """
    found = []
    for zone in sorted(powercap.glob("intel-rapl:*")):  # also on AMD; parts of a package have separate zones
        try:
            if (zone / "name").read_text().startswith("package"):
                found.append(Counter(_reader(zone / "energy_uj"), 1e-6, _reader(zone / "max_energy_range_uj")()))
        except (OSError, ValueError):
            return []
    return found


def gpu_counters(device: torch.device) -> list[Counter]:
    """Return the counter of a CUDA GPU, for the whole board; empty on other devices or without ``pynvml``."""
    if device.type != "cuda":
        return []
    try:
        import pynvml

        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
    except ImportError:
        return []
    except pynvml.NVMLError:
        return []

    def read() -> int:
        try:
            return pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
        except pynvml.NVMLError as error:  # GPUs from before 2017 have no counter
            raise OSError(str(error)) from error

    return [Counter(read, 1e-3)]


def _reader(path: Path) -> Callable[[], int]:
    return lambda: int(path.read_text())

"""Energy that the machine says it used: RAPL of the processor, NVML of the GPU."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

POWERCAP = Path("/sys/class/powercap")
JOULES = 3600  # in a watt-hour


class Counter(NamedTuple):
    """A meter that only rises."""

    read: Callable[[], int]
    joules: float  # of one count
    range: int | None = None  # counts after which it starts from 0 again


class EnergyMeter:
    """Watt-hours since this was made.

    A counter that starts again is told by a lower reading, so it must be read at least once a range: RAPL's is about
    20 minutes at 200 W.

    Args:
        counters: as `package_counters` and `gpu_counters` return them.
    """

    def __init__(self, counters: Sequence[Counter]) -> None:
        self._counters = counters
        self._last = self._read()
        self._joules = 0.0

    def watt_hours(self) -> float | None:
        """Read the counters; return ``None`` if there are none, or one could not be read at one time."""
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
    """Find the counters of the processor packages; none where there is no RAPL, or only root may read it.

    Each counts its whole package: whatever else the machine computes meanwhile is in it.
    """
    found = []
    for zone in sorted(powercap.glob("intel-rapl:*")):  # on AMD, too; a package's parts are zones of their own
        try:
            if (zone / "name").read_text().startswith("package"):
                found.append(Counter(_reader(zone / "energy_uj"), 1e-6, _reader(zone / "max_energy_range_uj")()))
        except (OSError, ValueError):
            return []
    return found


def gpu_counters(device: torch.device) -> list[Counter]:
    """Find the counter of a CUDA GPU, which counts the board; none elsewhere, or without the package ``pynvml``."""
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
        except pynvml.NVMLError as error:  # a GPU from before 2017 has no counter
            raise OSError(str(error)) from error

    return [Counter(read, 1e-3)]


def _reader(path: Path) -> Callable[[], int]:
    return lambda: int(path.read_text())

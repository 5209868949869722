"""Shared tools of benchmarks: alternating runs, tables with machine, versions and commit, and JSON files."""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import torch

from colorize.base.files import replacing
from colorize.base.machine import cores, peak_resident
from colorize.base.provenance import commit, versions
from colorize.data.store import ImageStore

ANSWER = "seconds: "  # before what a worker answers
RESULTS = Path("benchmarks/results")
DISTINCT = 500  # images of a synthetic store; more rows repeat them


class Report:
    """Collects tables; prints each when it is done and writes all of them to ``benchmarks/results/NAME.json``."""

    def __init__(self, name: str) -> None:
        self.path = RESULTS / f"{name}.json"
        self.content: dict[str, Any] = {
            "benchmark": name,
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "command": " ".join(["python -m", f"benchmarks.{name}", *sys.argv[1:]]),
            "machine": machine(),
            "versions": versions(),
            "commit": commit(),
            "tables": {},
        }
        about = self.content["versions"]
        print(f"{name}: {self.content['machine']}; {self.content['date']}, commit {self.content['commit']}")
        print(", ".join(f"{package} {version}" for package, version in about.items()), flush=True)

    def table(self, title: str, rows: list[dict[str, Any]]) -> None:
        """Print rows, which need not all have the same columns, as Markdown; write the file anew."""
        self.content["tables"][title] = rows
        columns = list(dict.fromkeys(column for row in rows for column in row))
        cells = [columns, *([_cell(row.get(column, "")) for column in columns] for row in rows)]
        widths = [max(len(line[column]) for line in cells) for column in range(len(columns))]
        lines = [
            "| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |" for line in cells
        ]
        lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
        print(f"\n{title}\n\n" + "\n".join(lines), flush=True)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.path) as temporary:
            temporary.write_text(json.dumps(self.content, indent=2))


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value)


def machine() -> str:
    """Name the processor, its cores, the memory and the GPU."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        name = models[0] if models else name
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{name}, {cores()} cores, {memory:.0f} GiB{gpu}"


def arguments(about: str | None) -> argparse.ArgumentParser:
    """Return a parser with what all benchmarks take."""
    parser = argparse.ArgumentParser(description=(about or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="times that each variant has its turn")
    parser.add_argument("--quick", action="store_true", help="small sizes, one round: to see that it runs")
    return parser


def in_turns(variants: Mapping[str, Callable[[], Iterable[float]]], rounds: int) -> dict[str, list[float]]:
    """Let each variant run, one after another, and all of that again; return all seconds of each."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, run in variants.items():
            seconds[name] += run()
    return seconds


def timed(work: Callable[[], Any], repeats: int = 1) -> list[float]:
    """Return the seconds of each repetition, the device's included."""
    seconds = []
    for _ in range(repeats):
        wait_for_device()
        start = time.perf_counter()
        work()
        wait_for_device()
        seconds.append(time.perf_counter() - start)
    return seconds


def wait_for_device() -> None:
    """Return when the GPU, if there is one, has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def spread(seconds: list[float]) -> str:
    """Return the fastest and the slowest run."""
    return f"{min(seconds):.3g} to {max(seconds):.3g}"


def rate(seconds: list[float], images: int) -> float:
    """Return images per second of the median run."""
    return images / median(seconds)


def matrix_rate(dtype: torch.dtype, device: str, size: int) -> float:
    """Measure the FLOP per second of a matrix product of random numbers."""
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    timed(lambda: a @ b, 2)
    return 2 * size**3 / median(timed(lambda: a @ b, 7))


def peak_memory() -> int:
    """Return the most bytes that this process, or on a GPU its tensors, have taken."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return peak_resident()


class Worker:
    """A process that takes its turns when it is told: for what a process can only be or not be as a whole.

    Args:
        module: run as ``python -m``; it calls `serve`.
        args: its arguments.
    """

    def __init__(self, module: str, *args: str) -> None:
        command = [sys.executable, "-m", module, *args]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def turn(self) -> list[float]:
        """Let it run once; return its seconds.

        Raises:
            RuntimeError: if it ended instead.
        """
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith(ANSWER):
                return json.loads(line.removeprefix(ANSWER))
        raise RuntimeError(f"{self.process.args} ended with {self.process.wait()}")

    def close(self) -> int:
        """End it; return the most bytes of memory that it took."""
        left, _ = self.process.communicate()
        return json.loads(left.splitlines()[-1].removeprefix(ANSWER))


def serve(turn: Callable[[], list[float]]) -> None:
    """Take turns as a `Worker`, until it is closed."""
    for _ in sys.stdin:
        print(f"{ANSWER}{json.dumps(turn())}", flush=True)
    print(f"{ANSWER}{peak_memory()}", flush=True)


def in_new_process(module: str, *args: str) -> dict[str, Any]:
    """Run ``python -m MODULE ARGS``, whose last line is JSON: for peaks of memory, which a process never forgets."""
    command = [sys.executable, "-m", module, *args]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def synthetic_store(folder: Path, train: int, val: int, image_size: int) -> ImageStore:
    """Make a store of smooth random pictures.

    Args:
        folder: that it is written to.
        train: training images; beyond ``DISTINCT``, rows repeat.
        val: validation images, likewise.
        image_size: pixels a side.
    """
    count = min(DISTINCT, train + val)
    folder.mkdir(parents=True, exist_ok=True)
    draw = torch.Generator().manual_seed(0)
    with (folder / "pixels.u8").open("wb") as file:
        for _ in range(count):
            coarse = torch.rand(1, 3, 8, 8, generator=draw)
            picture = torch.nn.functional.interpolate(coarse, (image_size, image_size), mode="bicubic")
            picture = picture + 0.05 * torch.randn(picture.shape, generator=draw)
            file.write((picture.clamp(0, 1) * 255).byte().numpy().tobytes())
    return _indexed(folder, [count, 3, image_size, image_size], train, val)


def sparse_store(folder: Path, train: int, image_size: int) -> ImageStore:
    """Make a store of as many black pictures, which take no space on disk."""
    folder.mkdir(parents=True, exist_ok=True)
    shape = [train, 3, image_size, image_size]
    with (folder / "pixels.u8").open("wb") as file:
        file.truncate(train * 3 * image_size**2)
    return _indexed(folder, shape, train, 0)


def _indexed(folder: Path, shape: list[int], train: int, val: int) -> ImageStore:
    rows = [row % shape[0] for row in range(train + val)]
    index = {"shape": shape, "train": rows[:train], "val": rows[train:], "ids": list(range(shape[0]))}
    index |= {"skipped": 0, "digest": "synthetic", "trained_on": "synthetic"}
    (folder / "index.json").write_text(json.dumps(index))
    return ImageStore(folder)

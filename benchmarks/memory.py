"""Measure the peak memory of `colorize image` by megapixels, with and without --memory, each in its own process.

python -m benchmarks.memory
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import harness
from benchmarks.many_files import models
from colorize.photos.memory import parse_size

SIDES = {1: (1152, 864), 12: (4000, 3000), 50: (8160, 6120), 100: (11520, 8640), 177: (13300, 13300)}
COMMAND = """
import sys
from colorize.cli import app
from colorize.base.machine import peak_resident
try:
    app()
finally:
    print("peak", peak_resident())
"""


def make(folder: Path, width: int, height: int, count: int) -> None:
    """Write transparent pictures as PNG: of what it reads, what takes most."""
    folder.mkdir()
    small = np.random.default_rng(0).integers(0, 256, (height // 64 + 1, width // 64 + 1, 4), dtype=np.uint8)
    picture = Image.fromarray(small).resize((width, height), Image.Resampling.NEAREST)
    for number in range(count):
        picture.save(folder / f"{number}.png", compress_level=1)


def color(folder: Path, out: Path, model: Path, memory: str) -> dict[str, float | int | str]:
    """Run the command; return its row."""
    stated = ["--memory", memory] if memory else []
    args = ["image", folder, "-o", out, "--checkpoint", model, "--device", "cpu", *stated]
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", COMMAND, *map(str, args)], capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stderr)
    refused = [re.sub(r"^.*: (\d+x\d+ needs about \S+), .*", r"\1", line) for line in done.stderr.splitlines()]
    peak = int(done.stdout.split()[-1])
    if memory and peak > parse_size(memory):
        raise RuntimeError(f"{peak} bytes are over --memory {memory}: {args}")
    return {
        "peak MB": peak / 1e6,
        "seconds": seconds,
        "colored": len(list(out.rglob("*.png"))),
        "refused": ", ".join(sorted(set(refused))),
    }


def main() -> None:
    """Measure and print."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--count", type=int, default=2, help="pictures of each size")
    parser.add_argument("--limits", nargs="*", default=["2G", "1200M"], type=size, help="beside none")
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "models").mkdir()
        predictors = models(folder / "models", 256)
        for megapixels, (width, height) in list(SIDES.items())[: 1 if args.quick else None]:
            pictures = folder / str(megapixels)
            make(pictures, width, height, args.count)
            for name, model in predictors.items():
                for memory in ("", *args.limits):
                    row = color(pictures, folder / f"out {megapixels} {name} {memory}", model, memory)
                    rows.append({"megapixels": megapixels, "": name, "--memory": memory or "not stated"} | row)
    harness.Report("memory").table(f"colorize image, {args.count} transparent PNGs of a size, a small U-Net", rows)


def size(text: str) -> str:
    """Check a limit as it is typed."""
    try:
        parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


if __name__ == "__main__":
    sys.exit(main())

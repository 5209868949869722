"""Measure time and peak memory of colorizing photographs from 1 to 100 megapixels, each size in its own process.

python -m benchmarks.inference
"""

import json
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image

from benchmarks import harness
from colorize.inference import Colorizer, Options
from colorize.inference.inputs import InputFile
from colorize.inference.many import BulkColorizer
from colorize.inference.pytorch import TorchPredictor, choose_device
from colorize.networks import build_generator

SIZES = [(256, 256), (1152, 864), (4000, 3000), (8160, 6120), (11520, 8640)]  # width, height


def measure(width: int, height: int, device: str, rounds: int) -> dict[str, float]:
    """Color one picture with the report's generator and random weights, which cost what trained ones do."""
    colorizer = Colorizer(TorchPredictor(build_generator("unet").eval(), 256, choose_device(device)))
    grey = np.random.default_rng(0).integers(0, 256, (height // 8 + 1, width // 8 + 1), dtype=np.uint8)
    picture = Image.fromarray(grey).resize((width, height), Image.Resampling.BICUBIC)
    before = harness.peak_memory()
    first = harness.timed(lambda: colorizer.colorize(picture))[0]
    seconds = harness.timed(lambda: colorizer.colorize(picture), rounds)
    with tempfile.TemporaryDirectory() as folder:
        job = InputFile(Path(folder) / "x.jpg", Path())
        picture.save(job.source)
        batch = BulkColorizer(colorizer, Options(), Path(folder) / "out", overwrite=True)
        files = harness.timed(lambda: batch.run([job]))
    return {
        "first": first,
        "seconds": median(seconds),
        "files": files[0],
        "fastest": min(seconds),
        "slowest": max(seconds),
        "before": before,
        "peak": harness.peak_memory(),
    }


def main() -> None:
    """Measure and print."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--size", type=int, nargs=2, help="measure one size, and print it as JSON")
    args = parser.parse_args()
    rounds = 1 if args.quick else args.rounds
    if args.size:
        print(json.dumps(measure(*args.size, args.device, rounds)))
        return
    report = harness.Report("inference")
    rows = []
    for width, height in SIZES[:2] if args.quick else SIZES:
        size = [str(width), str(height)]
        found = harness.in_new_process(
            "benchmarks.inference", "--size", *size, "--device", args.device, "--rounds", str(rounds)
        )
        rows.append(
            {
                "size": f"{width}x{height}",
                "megapixels": width * height / 1e6,
                "seconds": found["seconds"],
                "spread (s)": f"{found['fastest']:.3g} to {found['slowest']:.3g}",
                "first (s)": found["first"],
                "images/s": 1 / found["seconds"],
                "from JPEG to JPEG (s)": found["files"],
                "seconds a megapixel": found["seconds"] / (width * height / 1e6),
                "peak MB": found["peak"] / 1e6,
                "peak MB above the loaded model": (found["peak"] - found["before"]) / 1e6,
            }
        )
    threads = f"{torch.get_num_threads()} threads" if choose_device(args.device).type == "cpu" else ""
    report.table(f"Colorizer.colorize, the report's generator, {choose_device(args.device).type} {threads}", rows)


if __name__ == "__main__":
    sys.exit(main())

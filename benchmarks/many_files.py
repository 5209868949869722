"""Measure the throughput on many tiny photographs, colorized by a small network in PyTorch and in onnxruntime.

python -m benchmarks.many_files --count 20000
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks import harness
from colorize.export import export
from colorize.inference import Colorizer, Options
from colorize.inference.inputs import collect
from colorize.inference.many import BulkColorizer
from colorize.networks import build_generator

NETWORKS = {32: {"name": "unet", "n_down": 5, "num_filters": 4}, 256: {"name": "unet", "n_down": 8, "num_filters": 8}}


def make(folder: Path, count: int) -> None:
    """Write so many smooth grey pictures of about 40x30, half of them JPEG and half PNG."""
    folder.mkdir()
    for number in range(count):
        small = np.random.default_rng(number).integers(0, 256, (4, 5), dtype=np.uint8)
        picture = Image.fromarray(small).resize((40 + number % 17, 30 + number % 13), Image.Resampling.BICUBIC)
        picture.save(folder / f"{number:06d}.{('jpg', 'png')[number % 2]}")


def models(folder: Path, image_size: int) -> dict[str, Path]:
    """Write a network with random weights as a checkpoint and as ONNX."""
    settings = NETWORKS[image_size]
    torch.manual_seed(0)
    weights = {f"generator.{key}": value for key, value in build_generator(**settings).state_dict().items()}
    checkpoint = folder / f"{image_size}.ckpt"
    torch.save(
        {"state_dict": weights, "hyper_parameters": {"generator": settings, "image_size": image_size}}, checkpoint
    )
    list(export(checkpoint, folder / str(image_size), onnx=True))
    return {"PyTorch": checkpoint, "ONNX": folder / str(image_size) / "model.onnx"}


def main() -> None:
    """Measure and print."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--count", type=int, default=2000, help="files")
    args = parser.parse_args()
    count, rows = 40 if args.quick else args.count, []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make(folder / "in", count)
        for image_size in NETWORKS:
            for name, model in models(folder, image_size).items():
                out = folder / f"out {image_size} {name}"
                colorizer, jobs = Colorizer.from_checkpoint(model, "cpu"), collect([folder / "in"], out).jobs
                memory, start, cpu = harness.peak_memory(), time.perf_counter(), time.process_time()
                tally = BulkColorizer(colorizer, Options(), out).run(jobs)
                seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
                again = harness.timed(
                    lambda out=out, jobs=jobs, model=colorizer: BulkColorizer(model, Options(), out).run(jobs)
                )
                rows.append(
                    {
                        "network": f"{image_size}x{image_size}, {name}",
                        "files/s": len(tally.written) / seconds,
                        "ms of processor a file": 1000 * cpu / count,
                        "peak MB more": (harness.peak_memory() - memory) / 1e6,
                        "files/s, there already": count / again[0],
                    }
                )
    harness.Report("many_files").table(f"{count} grey photographs of about 48x36, a small U-Net", rows)


if __name__ == "__main__":
    sys.exit(main())

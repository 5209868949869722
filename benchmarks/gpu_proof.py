"""What one GPU makes of this project, in under 9 minutes and without a network; its last table sums up.

    make bench-gpu                             # or: python -m benchmarks.gpu_proof

On a machine that has only torch, lightning and torchmetrics, carry wheels of kornia, kornia-rs, hydra-core, omegaconf,
antlr4-python3-runtime (built from its source: there is no wheel of it) and pycocotools, in the lock's versions, and put
them on PYTHONPATH. W&B and torchvision are not needed.
"""

import itertools
import re
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from lightning.pytorch import Callback, LightningModule, Trainer
from omegaconf import open_dict
from torch.profiler import ProfilerActivity, profile

from benchmarks import harness
from benchmarks.epoch import EpochClock
from benchmarks.plain_loop import PlainLoop, flops_an_image
from benchmarks.train_step import GRAPHS, NOT_FUSED
from benchmarks.variants import SMALL, Variant
from colorize.experiment import train

KINDS = {  # of kernels, by what their names hold; the first that fits
    "optimiser": "adam|multi_tensor",
    "normalisation": "batch_norm|batchnorm|bn_fw|bn_bw|norm_kernel",
    "convolution": "conv|fprop|dgrad|wgrad|gemm|cutlass|xmma|nhwc|nchw|cudnn|implicit|sm90|sm80|winograd",
    "copy and layout": "copy|memcpy|memset|cat|transpose|gather|index",
    "elementwise and reduction": "elementwise|vectorized|reduce|relu|dropout|triton|mul|add|where|pow|fill|loss|mean",
}
EPOCHS = 100  # of the report


class Profiled(Callback):
    """Profiles some batches after a few others."""

    def __init__(self, first: int, batches: int) -> None:
        self.first, self.batches = first, batches
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
        self.profile = profile(activities=activities)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Start."""
        if batch_idx == self.first:
            harness.wait_for_device()
            self.profile.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop."""
        if batch_idx == self.first + self.batches - 1:
            harness.wait_for_device()
            self.profile.stop()

    def milliseconds(self) -> dict[str, float]:
        """Return the milliseconds a batch of each kernel, or without a GPU of each operator."""
        device = torch.cuda.is_available()
        found: dict[str, float] = {}
        for event in self.profile.key_averages():
            on_gpu = "CUDA" in str(event.device_type)
            if device and not on_gpu:
                continue
            microseconds = event.self_device_time_total if device else event.self_cpu_time_total
            found[event.key] = found.get(event.key, 0.0) + microseconds / 1000 / self.batches
        return {key: value for key, value in found.items() if value}


class Synchronisations(Callback):
    """Counts how often training waits for the GPU."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.caught: list[Any] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Start to listen."""
        if batch_idx == self.first and torch.cuda.is_available():
            self.listening = warnings.catch_warnings(record=True)
            self.caught = self.listening.__enter__()
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop."""
        if torch.cuda.is_available():
            torch.cuda.set_sync_debug_mode("default")
            self.listening.__exit__(None, None, None)

    def count(self) -> int:
        """Return how often it happened."""
        return sum("synchroniz" in str(warning.message) for warning in self.caught)


def kind_of(kernel: str) -> str:
    """Return which part of a step a kernel belongs to."""
    return next((kind for kind, names in KINDS.items() if re.search(names, kernel.lower())), "other")


def breakdown(milliseconds: dict[str, float]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Sum kernels up by kind, and list the longest."""
    whole = sum(milliseconds.values())
    kinds: dict[str, float] = {}
    for kernel, value in milliseconds.items():
        kinds[kind_of(kernel)] = kinds.get(kind_of(kernel), 0.0) + value

    def rows(values: Iterable[tuple[str, float]]) -> list[dict[str, Any]]:
        ordered = sorted(values, key=lambda item: -item[1])
        return [{"": key[:90], "ms a step": v, "share": f"{100 * v / whole:.1f}%"} for key, v in ordered]

    return rows([*kinds.items(), ("all", whole)]), rows(milliseconds.items())[:15]


def run_report(data: list[str], small: list[str], epochs: int, folder: Path) -> dict[str, Any]:
    """Train by ``experiment=report``, validation, samples and checkpoints included; return how long epochs took."""
    overrides = [*data, *small, "logger=csv", f"max_epochs={epochs}", f"run_dir={folder}", "~callbacks.progress"]
    with initialize_config_dir(str(Path("conf").resolve()), version_base="1.3"):
        cfg = compose("train", ["experiment=report", *overrides])
    with open_dict(cfg):
        cfg.callbacks.clock = {"_target_": "benchmarks.epoch.EpochClock"}
    metrics = train(cfg)
    ends = EpochClock.ended
    return {"epochs": [b - a for a, b in itertools.pairwise(ends)], "metrics": metrics}


def main() -> None:
    """Measure and print."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--minutes", type=float, default=8.3, help="for everything")
    parser.add_argument("--data", nargs="+", default=None, help="overrides that choose the images; default: scenes")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out, a minute or two")
    args = parser.parse_args()
    start = time.perf_counter()
    gpu = torch.cuda.is_available()
    if not gpu and not args.quick:
        sys.exit("no CUDA GPU is here; --quick goes through all parts on the CPU, small")
    device, small = ("cuda", []) if gpu else ("cpu", [*SMALL, "trainer=cpu"])
    size, sizes = (256, [16, 64, 256]) if gpu else (64, [4, 8])
    warm_up, steps = (12, 50) if gpu else (2, 4)
    report = harness.Report("gpu_proof")
    summary: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        ceiling = harness.matrix_rate(torch.bfloat16, device, 8192 if gpu else 512)
        summary.append({"": "matrix product, bf16, TFLOP/s", "value": ceiling / 1e12})
        store = harness.synthetic_store(folder / "store", sizes[-1] * (warm_up + steps), 0, size)

        def variant(batch: int, *overrides: str) -> Variant:
            chosen = [*small, *(["trainer=gpu"] if gpu else []), *overrides]
            return Variant(chosen, batch, store, folder, warm_up, steps)

        ways = {"default": [], "without CUDA graphs": ["engine.cuda_graphs=false"]}
        if gpu and not args.no_compile:
            ways["default + compile"] = ["engine.compile=true", *GRAPHS["+ CUDA graphs"]]
        plain32 = ["engine=plain", "trainer.precision=32", *NOT_FUSED]
        rows, flops = [], 0
        for name, batch, overrides in [
            *(("default", batch, ways["default"]) for batch in sizes),
            *(("without CUDA graphs", batch, ways["without CUDA graphs"]) for batch in sizes),
            ("engine=plain, float32", sizes[0], plain32),
            *(("default + compile", batch, ways["default + compile"]) for batch in sizes[::2] if len(ways) > 2),
        ]:
            v = variant(batch, *overrides)
            seconds = [*v.turn(), *v.turn()]
            images = harness.rate(seconds, batch)
            if not flops:
                flops = flops_an_image(v.module.generator, v.module.discriminator, size)
            share = f"{100 * flops * images / ceiling:.0f}%"
            row = {"": name, "batch": batch, "images/s": images, "ms a step": 1000 * median(seconds)}
            rows.append(row | {"of the matrix rate": share, "peak GB": v.peak / 1e9})
            if name == "default":
                summary.append({"": f"images/s, batch {batch}", "value": images})
                summary.append({"": f"peak GB, batch {batch}", "value": v.peak / 1e9})
            if name == "engine=plain, float32":
                plain = PlainLoop(v.module.generator, v.module.discriminator, device)
                fixed = v.data.val_batch(store.train_rows[:batch], torch.device(device))
                harness.timed(lambda p=plain, b=fixed: p.step(b.L, b.ab), warm_up)
                seconds = harness.timed(lambda p=plain, b=fixed: p.step(b.L, b.ab), steps)
                rows.append({"": "plain loop, float32", "batch": batch, "images/s": harness.rate(seconds, batch)})
                rows[-1] |= {"ms a step": 1000 * median(seconds)}
            del v
            if gpu:
                torch.cuda.empty_cache()
        report.table(f"Training, {size}x{size}; one image costs {flops / 1e9:.1f} GFLOP a step", rows)

        profiled, waits = Profiled(warm_up, steps // 4), Synchronisations(warm_up)
        v = variant(sizes[0], "engine.cuda_graphs=false")
        v.turn(profiled)
        kinds, longest = breakdown(profiled.milliseconds())
        report.table(f"Kernels of a step, batch {sizes[0]}, without CUDA graphs, by kind", kinds)
        report.table("The longest of them", longest)
        v = variant(sizes[0])
        v.turn(waits)
        summary.append(
            {
                "": f"waits for the GPU in {steps} steps, colour conversion's on its own stream included",
                "value": waits.count() if gpu else "not measured",
            }
        )

        data = args.data or ["data=scenes", f"data.root={folder}/scenes", f"data.store_dir={folder}/stores"]
        data += [] if args.data else (["data.num_train=8000", "data.num_val=2000"] if gpu else ["data.num_train=64"])
        data += [] if args.data or gpu else ["data.num_val=8"]
        first = run_report(data, small, 3 if gpu else 1, folder / "first")
        epoch = first["epochs"][-1]
        left = 60 * args.minutes - (time.perf_counter() - start)
        epochs = max(1, min(EPOCHS, int((left - 20) / epoch))) if gpu else 1
        ran = run_report(data, small, epochs, folder / "run")
        epoch = median(ran["epochs"])
        summary.append({"": "seconds an epoch, with validation, samples, checkpoints", "value": epoch})
        summary.append({"": f"minutes of {EPOCHS} epochs, projected", "value": EPOCHS * epoch / 60})
        summary.append({"": f"minutes of the {epochs} epochs that were run", "value": sum(ran["epochs"]) / 60})
        speed = ran["metrics"]["train/images_per_s_epoch"]
        summary.append({"": "images/s within epochs", "value": speed})
        within = (8000 if gpu else 64) / speed
        share = f"{100 * (1 - within / epoch):.1f}%"
        summary.append({"": "share of an epoch that is not training batches", "value": share})
        summary.append({"": "val/l1 after them", "value": ran["metrics"]["val/l1"]})
        summary.append({"": "minutes for all of this", "value": (time.perf_counter() - start) / 60})
        report.table(f"Summary: {harness.machine()}", summary)


if __name__ == "__main__":
    main()

"""Check correctness and measure speed on one GPU, in under 9 minutes and without internet; the last table is a summary.

    make bench-gpu                             # or: python -m benchmarks.gpu_proof

The first table checks the results row by row; the exit status is 1 if a check fails. All other tables measure speed.

On a machine that has only torch, lightning and torchmetrics, copy wheels of kornia, kornia-rs, hydra-core, omegaconf,
antlr4-python3-runtime (built from source, because there is no wheel) and pycocotools, in the locked versions, and
add them to PYTHONPATH. W&B and torchvision are not needed.
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
from benchmarks.gpu_results import Results
from benchmarks.plain_loop import PlainLoop, flops_an_image
from benchmarks.train_step import LEVERS
from benchmarks.variants import SMALL, Variant
from colorize.base.errors import UserError
from colorize.experiments.experiment import train

KINDS = {  # of kernels, by what their names hold; the first that fits
    "optimizer": "adam|multi_tensor",
    "normalization": "batch_norm|batchnorm|bn_fw|bn_bw|norm_kernel",
    "convolution": "conv|fprop|dgrad|wgrad|gemm|cutlass|xmma|nhwc|nchw|cudnn|implicit|sm90|sm80|winograd",
    "copy and layout": "copy|memcpy|memset|cat|transpose|gather|index",
    "elementwise and reduction": "elementwise|vectorized|reduce|relu|dropout|triton|mul|add|where|pow|fill|loss|mean",
}
EPOCHS = 100  # of the report
GRAPHS = ["engine.cuda_graphs=true"]
PLAIN = next(iter(LEVERS.values()))


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


class Synchronizations(Callback):
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


def run_report(overrides: list[str], epochs: int, folder: Path) -> dict[str, Any]:
    """Train by ``experiment=report``, validation, samples and checkpoints included; return how long epochs took."""
    overrides = [*overrides, "logger=csv", f"max_epochs={epochs}", f"run_dir={folder}", "~callbacks.progress"]
    with initialize_config_dir(str(Path("conf").resolve()), version_base="1.3"):
        cfg = compose("train", ["experiment=report", *overrides])
    with open_dict(cfg):
        cfg.callbacks.clock = {"_target_": "benchmarks.epoch.EpochClock"}
    metrics = train(cfg)
    ends = EpochClock.ended
    return {"epochs": [b - a for a, b in itertools.pairwise(ends)], "metrics": metrics}


class Proof:
    """The parts of the measurement, in the order in which they run; without a GPU small, to see that they run.

    Args:
        folder: for stores and runs.
        compile: whether to try torch.compile.
    """

    def __init__(self, folder: Path, compile: bool) -> None:
        self.folder = folder
        self.gpu = torch.cuda.is_available()
        self.device = "cuda" if self.gpu else "cpu"
        self.common = ["trainer=gpu"] if self.gpu else [*SMALL, "trainer=cpu"]
        self.size, self.batches = (256, [16, 64, 256]) if self.gpu else (64, [4, 8])
        self.warm_up, self.steps = (12, 50) if self.gpu else (2, 4)
        self.compile = compile and self.gpu
        self.store = harness.synthetic_store(
            folder / "store", self.batches[-1] * (self.warm_up + self.steps), 0, self.size
        )
        self.ceiling = harness.matrix_rate(torch.bfloat16, self.device, 8192 if self.gpu else 512)
        self.flops = 0
        self.summary: list[dict[str, Any]] = []
        self.sum_up("matrix product, bf16, TFLOP/s", self.ceiling / 1e12)

    def sum_up(self, name: str, value: Any) -> None:
        """Add a line to the last table."""
        self.summary.append({"": name, "value": value})

    def variant(self, batch: int, overrides: list[str]) -> Variant:
        """Prepare a short training."""
        return Variant([*self.common, *overrides], batch, self.store, self.folder, self.warm_up, self.steps)

    def speeds(self) -> list[dict[str, Any]]:
        """Measure training by engine and batch size; what fails is a row that says so."""
        ways = [("default", batch, []) for batch in self.batches]
        ways += [("with CUDA graphs", batch, GRAPHS) for batch in self.batches if self.gpu]
        ways += [("engine=plain, float32", self.batches[0], PLAIN)]
        if self.compile:
            ways += [("default + compile", batch, ["engine.compile=true"]) for batch in self.batches[::2]]
        rows = []
        for name, batch, overrides in ways:
            try:
                rows += self._speed(name, batch, overrides)
            except (RuntimeError, UserError) as error:
                rows.append({"": name, "batch": batch, "images/s": f"failed: {str(error).splitlines()[0]}"[:120]})
            if self.gpu:
                torch.cuda.empty_cache()
        return rows

    def _speed(self, name: str, batch: int, overrides: list[str]) -> list[dict[str, Any]]:
        v = self.variant(batch, overrides)
        seconds = [*v.turn(), *v.turn(), *v.turn()]
        images = harness.rate(seconds, batch)
        self.flops = self.flops or flops_an_image(v.module.generator, v.module.discriminator, self.size)
        row = {"": name, "batch": batch, "images/s": images, "ms a step": 1000 * median(seconds)}
        share = f"{100 * self.flops * images / self.ceiling:.0f}%"
        row["spread (ms)"] = harness.spread([1000 * s for s in seconds])
        rows = [row | {"of the matrix rate": share, "peak GB": v.peak / 1e9}]
        if name == "default":
            self.sum_up(f"images/s, batch {batch}", images)
            self.sum_up(f"peak GB, batch {batch}", v.peak / 1e9)
        if overrides == PLAIN:
            plain = PlainLoop(v.module.generator, v.module.discriminator, self.device)
            fixed = v.data.val_batch(self.store.train_rows[:batch], torch.device(self.device))
            harness.timed(lambda: plain.step(fixed.L, fixed.ab), self.warm_up)
            seconds = harness.timed(lambda: plain.step(fixed.L, fixed.ab), self.steps)
            row = {"": "plain loop, float32", "batch": batch, "images/s": harness.rate(seconds, batch)}
            rows.append(row | {"ms a step": 1000 * median(seconds)})
        return rows

    def kernels(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Profile a few steps, kernel by kernel, and count how often others wait for the GPU."""
        profiled, waits = Profiled(self.warm_up, self.steps // 4), Synchronizations(self.warm_up)
        self.variant(self.batches[0], []).turn(profiled)
        self.variant(self.batches[0], []).turn(waits)
        self.sum_up(f"waits for the GPU in {self.steps} steps", waits.count() if self.gpu else "not measured")
        return breakdown(profiled.milliseconds())

    def report(self, data: list[str] | None, ends: float) -> None:
        """Train by the report's recipe for as many epochs as there is time.

        Args:
            data: overrides that choose the images; ``None`` draws scenes.
            ends: when to be done, by `time.perf_counter`.
        """
        train, val = (8000, 2000) if self.gpu else (64, 8)
        if data is None:
            data = ["data=scenes", f"data.root={self.folder}/scenes", f"data.store_dir={self.folder}/stores"]
            data += [f"data.num_train={train}", f"data.num_val={val}"]
        overrides = [*data, *([] if self.gpu else self.common)]
        epoch = run_report(overrides, 3 if self.gpu else 1, self.folder / "first")["epochs"][-1]
        epochs = max(1, min(EPOCHS, int((ends - time.perf_counter() - 20) / epoch))) if self.gpu else 1
        ran = run_report(overrides, epochs, self.folder / "run")
        epoch, speed = median(ran["epochs"]), ran["metrics"]["train/images_per_s_epoch"]
        self.sum_up("images/s within epochs", speed)
        self.sum_up("seconds an epoch, with validation, samples, checkpoints", epoch)
        self.sum_up("share of an epoch that is not training batches", f"{100 * (1 - train / speed / epoch):.1f}%")
        self.sum_up(f"minutes of {EPOCHS} epochs, projected", EPOCHS * epoch / 60)
        self.sum_up(f"minutes of the {epochs} epochs that were run", sum(ran["epochs"]) / 60)
        self.sum_up("val/l1 after them", ran["metrics"]["val/l1"])


def main() -> None:
    """Measure and print."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--minutes", type=float, default=8.3, help="for everything")
    parser.add_argument("--data", nargs="+", help="overrides that choose 8,000 and 2,000 images; default: scenes")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out, a minute or two")
    args = parser.parse_args()
    start = time.perf_counter()
    if not torch.cuda.is_available() and not args.quick:
        sys.exit("no CUDA GPU is here; --quick goes through all parts on the CPU, small")
    report = harness.Report("gpu_proof")
    with tempfile.TemporaryDirectory() as folder:
        checks = Results(Path(folder))  # it holds what torch must not lose
        results = checks.rows()
        report.table("Results", results)
        proof = Proof(Path(folder), not args.no_compile)
        rows = proof.speeds()
        about = f"{proof.size}x{proof.size}; one image costs {proof.flops / 1e9:.1f} GFLOP a step"
        report.table(f"Training, {about}", rows)
        kinds, longest = proof.kernels()
        report.table(f"Kernels of a step, batch {proof.batches[0]}, by kind", kinds)
        report.table("The longest of them", longest)
        proof.report(args.data, start + 60 * args.minutes)
        failed = [row[""] for row in results if row["verdict"] == "FAIL"]
        proof.sum_up("results that are not right", "; ".join(failed) or "none")
        proof.sum_up("minutes for all of this", (time.perf_counter() - start) / 60)
        report.table(f"Summary: {harness.machine()}", proof.summary)
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    main()

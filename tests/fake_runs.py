"""Create directories like those of runs and sweeps, with known numbers and without training."""

import csv
import json
import math
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import torch

from colorize.grids import VERSIONS, picture_grid
from colorize.vocabulary import STATES

EPOCHS, BATCHES = 5, 40  # of a run; batches an epoch
MODES = {"vanilla": 0.080, "lsgan": 0.076, "hinge": 0.070}  # val/l1 of a seed in between, at lr 1e-4
STEP = {"vanilla": 0.004, "lsgan": 0.004, "hinge": -0.002}  # what lr=4e-4 adds
SEEDS = {0: -0.001, 1: 0.001}
ERROR = "loss_D is nan at epoch 1, batch 50: try a lower <b>lr</b>"
COMMON = ("data=scenes", "image_size=64")
D_WINS = "D_acc_real 0.99 and D_acc_fake 1.00 over 20 batches, grad_norm_G 12 <of> 3"


def write_run(
    folder: Path,
    overrides: Sequence[str],
    value: float = 0.08,
    status: str = "completed",
    error: str | None = None,
    job: int | None = None,
    state: str = "healthy",
    epochs: int = EPOCHS,
    batches: int = BATCHES,
    cost: dict | None = None,
) -> Path:
    """Write one run's directory: with a ``job``, as a job of a sweep; unhealthy from its middle on if ``state`` is.

    Without a ``cost``, as runs left it before they counted what they cost.
    """
    (folder / ".hydra").mkdir(parents=True)
    choices = dict(override.lstrip("+").split("=", 1) for override in overrides)
    config = {"gan_mode": "vanilla", "lr": 2e-4, "betas": [0.5, 0.999], "seed": 0, "optimized_metric": "val/l1"}
    config |= {"max_epochs": epochs}
    (folder / ".hydra/config.yaml").write_text(json.dumps(config))
    (folder / ".hydra/overrides.yaml").write_text(json.dumps(list(overrides)))
    if job is not None:
        record = {"job": job, "overrides": list(overrides), "status": status, "seconds": 100.0 + job}
        (folder / "job.json").write_text(json.dumps(record | ({"error": error} if error else {"value": value})))
    seen = write_curves(folder, value, state, epochs, batches, int(choices.get("seed", 0)), status == "completed")
    write_samples(folder, len(choices.get("gan_mode", "")) + 3 * int(choices.get("seed", 0)))
    if status == "completed":
        metrics = {
            "val/l1": value,
            "val/psnr": 20 - 100 * (value - 0.08),
            "val/ssim": 0.9,
            "val/colorfulness_abs": 30.0,
        }
        summary = {
            "metrics": metrics | {"val/delta_colorfulness": 5.0, "train/images_per_s_epoch": 150.0},
            "seconds": 90.0,
            "images_per_s": 150.0,
            "peak_memory_bytes": 2**30,
            "epochs": epochs,
            "device": "x86_64 CPU, 2 cores",
            "versions": {"python": "3.11.7", "torch": "2.9.0"},
            "commit": "0123456789abcdef",
            "states": seen,
            "state": state,
            "rollbacks": 0,
        }
        summary |= {"cost": cost} if cost else {}
        (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def write_curves(
    folder: Path, value: float, state: str, epochs: int, batches: int, seed: int, ended: bool
) -> dict[str, int]:
    """Write metrics.csv and states.csv; return how often each state was seen."""
    rng = np.random.default_rng(seed)
    rows, seen = [], {}
    turn = epochs * batches // 2
    for batch in range(4, epochs * batches, 5):
        done, epoch = batch / (epochs * batches), batch // batches
        now = state if batch >= turn else "healthy"
        seen[now] = seen.get(now, 0) + 1
        noise = rng.normal(0, 0.03, 8)
        row = {
            "epoch": epoch,
            "step": batch,
            "train/loss_D": 0.69 - 0.2 * done + noise[0],
            "train/loss_G": 18 * math.exp(-done) + 5 * noise[1],
            "train/loss_G_L1": 17 * math.exp(-done) + 5 * noise[1],
            "train/images_per_s": 150 + 100 * noise[2],
            "diag/state": STATES.index(now),
            "diag/D_acc_real": 0.6 + 0.3 * (now != "healthy") + noise[3],
            "diag/D_acc_fake": 0.6 + 0.3 * (now != "healthy") + noise[4],
            "diag/grad_norm_G": math.exp(noise[5] * 10),
            "diag/colorfulness": 30 * done + 20 * noise[6],
        }
        if (batch + 1) % batches == 0:
            row |= {"val/l1": value + 0.1 * math.exp(-6 * done), "train/loss_D_epoch": 0.6, "val/psnr": 15 + 5 * done}
        rows.append(row)
    if ended:
        rows.append(
            {"epoch": epochs, "step": epochs * batches, "val/l1": value + 0.5}
        )  # of other images: off the curve
    write_csv(folder / "metrics.csv", rows)
    changes = [{"epoch": 0, "batch": 4, "state": "healthy", "evidence": "nothing stands out", "action": ""}]
    if state != "healthy":
        changes.append(
            {"epoch": turn // batches, "batch": turn, "state": state, "evidence": D_WINS, "action": "warned"}
        )
    write_csv(folder / "states.csv", changes)
    return seen


def write_csv(path: Path, rows: list[dict]) -> None:
    """Write rows with all columns that any of them has."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)


def write_samples(folder: Path, tint: int, images: int = 3, size: int = 64) -> None:
    """Write a picture of the same smooth images in grey, in a tint of their own, and in their colors."""
    y, x = np.mgrid[0:size, 0:size] / size
    real = np.stack(
        [
            np.stack([0.5 + 0.5 * np.sin(3 * x + k), 0.5 + 0.5 * np.cos(4 * y - k), 0.3 + 0.6 * x * y])
            for k in range(images)
        ]
    )
    grey = np.repeat(real.mean(1, keepdims=True), 3, axis=1)
    kept = 0.3 + 0.6 * (tint % 8) / 8
    columns = (grey, grey + kept * (real - grey), real)
    pictures = [torch.from_numpy((255 * column.clip(0, 1)).astype(np.uint8)) for column in columns]
    (folder / "samples").mkdir(parents=True)
    picture_grid(dict(zip(VERSIONS, pictures, strict=True))).save(folder / "samples/epoch-004.png")


def write_sweep(folder: Path) -> dict[tuple[str, str, int], float]:
    """Write a sweep of 3 objectives x 2 learning rates x 2 seeds; return each job's ``val/l1``."""
    values = {}
    for job, (mode, lr, seed) in enumerate(product(MODES, ("1e-4", "4e-4"), SEEDS)):
        value = MODES[mode] + (STEP[mode] if lr == "4e-4" else 0) + SEEDS[seed]
        values[mode, lr, seed] = value
        state = "D wins" if (mode, lr) == ("vanilla", "4e-4") else "healthy"
        overrides = [*COMMON, f"gan_mode={mode}", f"lr={lr}", f"seed={seed}"]
        write_run(folder / str(job), overrides, value, job=job, state=state)
    return values


def write_sweep_with_failures(folder: Path) -> None:
    """Write `write_sweep`, one job that failed and one that was pruned."""
    write_sweep(folder)
    failed = [*COMMON, "gan_mode=wgan-gp", "lr=1e-4", "seed=0"]
    write_run(folder / "12", failed, status="failed", error=ERROR, job=12)
    pruned = [*COMMON, "gan_mode=wgan-gp", "lr=4e-4", "betas=[0.5,0.999]", "seed=0"]
    write_run(folder / "13", pruned, status="pruned", state="diverging", job=13)


def write_strategies(folder: Path) -> None:
    """Write a sweep of four strategies x 2 seeds, with costs, the last one's from before costs were counted."""
    job = 0
    for strategy, value, cost in (
        ("small", 0.10, {"gflop_forward": 2.0, "parameters_G": 4.5e6, "images": 6000, "cpu_seconds": 610.0}),
        ("large", 0.08, {"gflop_forward": 12.0, "parameters_G": 54409858, "images": 1000, "cpu_seconds": 600.0}),
        ("wasteful", 0.09, {"gflop_forward": 50.0, "parameters_G": 55e6, "images": 800, "cpu_seconds": 605.0}),
        ("old", 0.07, None),
    ):
        for seed in (0, 1):
            spread = 0.001 * (2 * seed - 1)
            full = cost and cost | {"seconds": 300.0 + 10 * seed + 20 * (strategy == "wasteful"), "gpu_seconds": None}
            overrides = [*COMMON, f"strategy={strategy}", f"seed={seed}"]
            write_run(folder / str(job), overrides, value + spread, job=job, cost=full)
            job += 1


def write_sizes(folder: Path) -> dict[tuple[str, int], float]:
    """Write a sweep of the number of training images x 2 strategies x 2 seeds; return the means of ``val/l1``."""
    means, job = {}, 0
    for strategy, at_1000 in (("small", 0.10), ("large", 0.12)):
        for size in (4000, 1000, 2000):
            means[strategy, size] = at_1000 - 0.01 * math.log2(size / 1000)
            for seed in (0, 1):
                overrides = [*COMMON, f"data.num_train={size}", f"strategy={strategy}", f"seed={seed}"]
                write_run(folder / str(job), overrides, means[strategy, size] + 0.001 * (2 * seed - 1), job=job)
                job += 1
    return means

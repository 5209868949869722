"""Measure the cost of monitoring training: every second batch is measured and compared with the one before.

Whole runs with and without monitoring differ by more than its cost, because speed drifts; neighboring batches do not.

python -m benchmarks.watch                 # the demo's networks; about a minute on 2 cores
python -m benchmarks.watch experiment=report --batch-size 4 --batches 60
"""

import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from benchmarks import harness
from benchmarks.variants import SMALL, config, fit
from colorize.experiments.experiment import build_data, build_module, engine_of
from colorize.training.engine import prepare_process

WARM_UP = 10  # batches


class Periods(Callback):
    """Notes the seconds from the end of one batch to the end of the next, with all that belongs to it."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.since = time.perf_counter()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Note a batch; waits for the device."""
        harness.wait_for_device()
        now = time.perf_counter()
        self.seconds.append(now - self.since)
        self.since = now


def main() -> None:
    """Measure and print."""
    parser = harness.arguments(__doc__)
    parser.add_argument("overrides", nargs="*", default=[], help="of conf/train.yaml; without any experiment=demo")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--batches", type=int, default=400, help="that count")
    args = parser.parse_args()
    overrides = [*(args.overrides or ["experiment=demo"]), f"batch_size={args.batch_size}", *(SMALL * args.quick)]
    batches = 20 if args.quick else args.batches
    report = harness.Report("watch")
    with tempfile.TemporaryDirectory() as temporary:
        usual = config(Path(temporary) / "run", *overrides)
        cfg = config(Path(temporary) / "run", *overrides, "callbacks.watch.every_n_batches=2")
        engine = engine_of(cfg)
        prepare_process(engine)
        data, periods = build_data(cfg, engine), Periods()
        images = args.batch_size * (WARM_UP + batches)
        data.store = harness.synthetic_store(Path(temporary) / "store", images, 0, cfg.image_size)
        fit(cfg, build_module(cfg, engine), data, periods)
    looked, other = periods.seconds[WARM_UP::2], periods.seconds[WARM_UP + 1 :: 2]
    cost = sorted(a - b for a, b in zip(looked, other, strict=True))
    every = usual.callbacks.watch.every_n_batches
    row = {
        "ms a batch": 1000 * median(other),
        "ms a look": 1000 * median(cost),
        "quartiles": f"{1000 * cost[len(cost) // 4]:.3g} to {1000 * cost[3 * len(cost) // 4]:.3g}",
        f"a look every {every} batches costs": f"{100 * median(cost) / every / median(other):.2f}%",
    }
    size = f"{cfg.image_size}x{cfg.image_size}, {cfg.generator.num_filters} filters"
    report.table(f"Watching training, batch {args.batch_size}, {size}, {batches} batches", [row])


if __name__ == "__main__":
    main()

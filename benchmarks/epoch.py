"""Measure the time of whole epochs by part: training batches, validation, pictures, checkpoints, and the rest.

python -m benchmarks.epoch                 # the demo's networks and size; about a minute on 2 cores
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from lightning.pytorch import Callback, LightningModule, Trainer

from benchmarks import harness
from benchmarks.variants import SMALL, fit
from colorize.experiments.experiment import build_data, build_module, engine_of
from colorize.training.callbacks.samples import SampleGrid
from colorize.training.engine import prepare_process


class EpochClock(Callback):
    """Notes when each epoch ended, with all that belongs to it."""

    ended: list[float] = []  # noqa: RUF012 - of the class: Hydra makes the instance

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin."""
        self.ended[:] = [time.perf_counter()]

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the end of the epoch before: its checkpoint has been handed over by now."""
        if trainer.current_epoch:
            self.ended.append(time.perf_counter())

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the end of the last."""
        harness.wait_for_device()
        self.ended.append(time.perf_counter())


class Parts(Callback):
    """Adds up the seconds of each part of training; it waits for the device between them."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(("D's and G's steps", "validation", "pictures", "checkpoints"), 0.0)

    def _around(self, owner: Any, name: str, part: str) -> None:
        work: Callable[..., Any] = getattr(owner, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            harness.wait_for_device()
            start = time.perf_counter()
            result = work(*args, **kwargs)
            harness.wait_for_device()
            self.seconds[part] += time.perf_counter() - start
            return result

        timed.step = getattr(work, "step", work)  # whose operations Cost counts
        setattr(owner, name, timed)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put clocks around the parts, and start the one of the whole."""
        self._around(trainer, "save_checkpoint", "checkpoints")
        for callback in trainer.callbacks:
            if isinstance(callback, SampleGrid):
                self._around(callback, "on_train_epoch_end", "pictures")
        self.start = time.perf_counter()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put a clock around the step, which each fit chooses anew."""
        if trainer.current_epoch == 0:
            self._around(pl_module, "run_step", "D's and G's steps")

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of validation."""
        harness.wait_for_device()
        self.validation = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop it."""
        harness.wait_for_device()
        self.seconds["validation"] += time.perf_counter() - self.validation

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock of the whole."""
        self.whole = time.perf_counter() - self.start


def main() -> None:
    """Measure and print."""
    parser = harness.arguments(__doc__)
    parser.add_argument("overrides", nargs="*", default=[], help="of conf/train.yaml, such as experiment=report")
    args = parser.parse_args()
    report = harness.Report("epoch")
    train, val = (32, 8) if args.quick else (2000, 400)
    with tempfile.TemporaryDirectory() as temporary:
        fixed = ["experiment=demo", "max_epochs=2", f"run_dir={temporary}/run", "~callbacks.progress"]
        overrides = [*fixed, *(SMALL if args.quick else []), *args.overrides]
        with initialize_config_dir(str(Path("conf").resolve()), version_base="1.3"):
            cfg = compose("train", overrides)
        engine = engine_of(cfg)
        prepare_process(engine)
        data = build_data(cfg, engine)
        data.store = harness.synthetic_store(Path(temporary) / "store", train, val, cfg.image_size)
        parts = Parts()
        fit(cfg, build_module(cfg, engine), data, parts)
        seconds = parts.seconds | {"the rest": parts.whole - sum(parts.seconds.values())}
    seconds |= {"all": parts.whole}
    rows = [{"": n, "seconds": s, "share": f"{100 * s / parts.whole:.2f}%"} for n, s in seconds.items()]
    size = f"{cfg.image_size}x{cfg.image_size}, {cfg.generator.num_filters} filters, batch {cfg.batch_size}"
    report.table(f"2 epochs of {train} images, {size}; {data.scored_each_epoch} validated after each", rows)


if __name__ == "__main__":
    main()

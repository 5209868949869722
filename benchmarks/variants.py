"""Run short trainings with the project's module and Trainer, and time the measured batches."""

import logging
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from lightning.pytorch import Callback, LightningModule, Trainer
from omegaconf import DictConfig
from torch import Tensor

from benchmarks import harness
from colorize.data import Batch, ColorizationDataModule
from colorize.data.store import ImageStore
from colorize.experiments.experiment import (
    build_callbacks,
    build_data,
    build_module,
    build_trainer,
    engine_of,
    silence_known_warnings,
)
from colorize.training import ColorizationModule
from colorize.training.game import Turn
from colorize.training.step import Outcome

SMALL = ["image_size=64", "generator.n_down=6", "generator.num_filters=8", "discriminator.num_filters=8"]  # for --quick


class Clock(Callback):
    """Times the batches after the first ``warm_up``: all of them, and the part inside of the step.

    On a GPU it waits for the device at the two ends only, so the part inside is known on a CPU alone.
    """

    def __init__(self, warm_up: int) -> None:
        self.warm_up = warm_up
        self.inside = 0.0
        self.total = 0.0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        """Put a clock around the step."""
        if batch_idx == 0:
            self.run_step, timed = pl_module.run_step, partial(self._timed_step)
            timed.step = getattr(self.run_step, "step", self.run_step)  # whose operations Cost counts
            pl_module.run_step = timed

    def _timed_step(self, L: Tensor, ab: Tensor, turn: Turn) -> Outcome:
        start = time.perf_counter()
        outcome = self.run_step(L, ab, turn)
        self.inside += time.perf_counter() - start
        return outcome

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Start or stop."""
        if batch_idx == self.warm_up - 1:
            harness.wait_for_device()
            self.start, self.inside = time.perf_counter(), 0.0
        elif batch_idx == trainer.num_training_batches - 1:
            harness.wait_for_device()
            self.total = time.perf_counter() - self.start


class Variant:
    """One way to train, ready for its turns.

    Args:
        overrides: of ``conf/train.yaml``.
        batch: images a step.
        store: the images.
        run_dir: for what a run writes.
        warm_up: batches before the clock starts, each turn.
        steps: batches that count.
    """

    def __init__(
        self, overrides: list[str], batch: int, store: ImageStore, run_dir: Path, warm_up: int, steps: int
    ) -> None:
        limit = f"trainer.limit_train_batches={warm_up + steps}"
        self.cfg = config(run_dir, limit, f"batch_size={batch}", *overrides)
        self.engine = engine_of(self.cfg)
        self.module = build_module(self.cfg, self.engine)
        self.data = build_data(self.cfg, self.engine)
        self.data.store = store
        self.warm_up, self.steps = warm_up, steps
        self.outside: list[float] = []  # share of the time that is not in the step, each turn
        self.peak = 0

    def turn(self, *callbacks: Callback) -> list[float]:
        """Train for a few batches; return the mean seconds of those that count."""
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        clock = Clock(self.warm_up)
        fit(self.cfg, self.module, self.data, clock, *callbacks)
        self.outside.append(1 - clock.inside / clock.total)
        self.peak = harness.peak_memory()
        return [clock.total / self.steps]


def config(run_dir: Path, *overrides: str) -> DictConfig:
    """Compose a run that does nothing but train: no validation, files or pictures."""
    fixed = ["data=folder", "logger=csv", f"run_dir={run_dir}", "max_epochs=1", "trainer.limit_val_batches=0"]
    fixed += ["~callbacks.best", "~callbacks.last", "~callbacks.samples", "~callbacks.progress"]
    with initialize_config_dir(str(Path("conf").resolve()), version_base="1.3"):
        return compose("train", [*fixed, *overrides])


def fit(
    cfg: DictConfig,
    module: ColorizationModule,
    data: ColorizationDataModule,
    *callbacks: Callback,
    ckpt_path: Path | None = None,
) -> Trainer:
    """Train as `colorize.experiments.experiment.train` does."""
    with warnings.catch_warnings():
        silence_known_warnings()
        warnings.filterwarnings("ignore", ".*checkpoint.*")
        trainer = build_trainer(cfg, engine_of(cfg), build_callbacks(cfg))
        trainer.callbacks.extend(callbacks)
        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        trainer.fit(module, data, ckpt_path=ckpt_path, weights_only=True)
    return trainer

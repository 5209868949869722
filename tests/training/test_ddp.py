"""Two processes with gloo on the CPU: they stop together, with different numbers of validation images."""

import csv
import os
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback

from colorize.checkpoint import read_checkpoint
from colorize.training.callbacks.clock import Clock
from tests.conftest import ROOT, SMALL
from tests.test_commands import command

pytestmark = pytest.mark.slow
DDP = ["trainer.strategy=ddp_find_unused_parameters_true", "trainer.devices=2", "batch_size=2"]  # 5 batches an epoch
BLINDED = 7  # the batch whose losses are no numbers to the second process
PYTHON = {"PYTHONPATH": str(ROOT)}


class BlindedSecond(Callback):
    """Makes the real chroma of a batch NaN in the second process; each process notes its weights after every batch."""

    def on_train_batch_start(self, trainer, module, batch, *_) -> None:
        if "BLIND" in os.environ and module.batches == BLINDED and trainer.global_rank == 1:
            batch.ab.fill_(torch.nan)

    def on_train_batch_end(self, trainer, module, *_) -> None:
        weights = sum(value.double().abs().sum().item() for value in module.parameters())
        with Path(f"weights-{trainer.global_rank}.txt").open("a") as file:
            file.write(f"{weights!r}\n")


class UnequalTime(Callback):
    """Lets a batch take ten seconds in the first process and none in the second."""

    seconds = 0.0

    def setup(self, trainer, module, stage) -> None:
        (clock,) = (callback for callback in trainer.callbacks if isinstance(callback, Clock))
        clock._now = lambda: self.seconds

    def on_train_batch_start(self, trainer, *_) -> None:
        self.seconds += 10 * (trainer.global_rank == 0)

    def on_train_batch_end(self, trainer, module, *_) -> None:
        BlindedSecond.on_train_batch_end(self, trainer, module)


def test_all_processes_follow_the_first_ones_clock(tmp_path, photos) -> None:
    """They end with the same batch, and step by the same learning rates on the way."""
    run = [f"data.root={photos}", f"data.store_dir={photos.parent / 'stores'}", "optim.schedule=one_cycle"]
    time = ["max_minutes=1.1", "max_epochs=-1", f"+callbacks.time={{_target_: {__name__}.UnequalTime}}"]
    result = command("train.py", *SMALL, *run, *DDP, *time, cwd=tmp_path, env=PYTHON)
    assert result.returncode == 0, result.stderr
    first, second = ((tmp_path / f"weights-{rank}.txt").read_text().split() for rank in (0, 1))
    assert first == second and len(first) == 7


@pytest.fixture(scope="module")
def folder(tmp_path_factory, photos) -> Path:
    """Train until the second process meets what is no number."""
    folder = tmp_path_factory.mktemp("ddp")
    run = [f"data.root={photos}", f"data.store_dir={photos.parent / 'stores'}", "trainer.log_every_n_steps=99"]
    blinded = f"+callbacks.blinded={{_target_: {__name__}.BlindedSecond}}"
    result = command("train.py", *SMALL, *run, *DDP, blinded, cwd=folder, env=PYTHON | {"BLIND": "1"})
    assert result.returncode == 2 and "Traceback" not in result.stderr, result.stderr
    complaints = [line for line in result.stderr.splitlines() if "is nan" in line]
    assert complaints and all(line.startswith("loss_D is nan at epoch 1, batch 7: nothing was") for line in complaints)
    return folder


def test_unequal_numbers_of_validation_batches_are_scored(folder) -> None:
    """Of 5 images in batches of 2 the first process has two batches, the second one."""
    (metrics,) = folder.glob("outputs/*/*/metrics.csv")
    scored = [row for row in csv.DictReader(metrics.read_text().splitlines()) if row["val/l1"]]
    assert [row["step"] for row in scored] == ["4"]


def test_what_is_no_number_to_one_process_is_stepped_by_none(folder) -> None:
    first, second = ((folder / f"weights-{rank}.txt").read_text().split() for rank in (0, 1))
    assert first == second and len(first) == 10
    assert len(set(first[:BLINDED])) == BLINDED and len(set(first[BLINDED - 1 :])) == 1
    (last,) = folder.glob("outputs/*/*/checkpoints/last.ckpt")
    assert read_checkpoint(last)["batches"] == 5


def test_all_processes_go_on_from_what_the_first_one_found(folder) -> None:
    result = command("train.py", "ckpt_path=last", "max_epochs=2", cwd=folder, env=PYTHON)
    assert result.returncode == 0, result.stderr
    first, second = sorted(folder.glob("outputs/*/*/checkpoints/last.ckpt"), key=lambda path: path.stat().st_mtime)
    assert (read_checkpoint(first)["batches"], read_checkpoint(second)["batches"]) == (5, 10)

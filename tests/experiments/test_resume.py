"""An interrupted and resumed run ends with the same weights, bit for bit, as an uninterrupted run."""

import csv
import shutil
import signal
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback

from colorize.base.errors import UserError
from colorize.checkpoint import read_checkpoint
from colorize.experiments.experiment import train
from tests.conftest import small_config

EPOCHS = 3  # of 5 batches
LAST = "checkpoints/last.ckpt"


def weights(path: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(path)["state_dict"]


def largest_difference(a: Path, b: Path) -> float:
    first, second = weights(a), weights(b)
    assert first.keys() == second.keys()
    return max((first[key].double() - second[key].double()).abs().max().item() for key in first)


class Signals(Callback):
    """Sends this process a signal in the batch, or the validation batch, of that number."""

    def __init__(self, train_batch: int = -1, val_batch: int = -1) -> None:
        self.train_batch = train_batch
        self.left = val_batch

    def on_train_batch_start(self, trainer, module, batch, batch_idx) -> None:
        if module.batches == self.train_batch:
            signal.raise_signal(signal.SIGTERM)

    def on_validation_batch_start(self, trainer, module, *_) -> None:
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGTERM)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, photos) -> Path:
    run = tmp_path_factory.mktemp("uninterrupted")
    train(small_config(photos, run, f"max_epochs={EPOCHS}"))
    return run


def interrupt(make_config, tmp_path: Path, **when: int) -> None:
    """Run until the signal; the run leaves with SIGTERM's status."""
    target = f"{__name__}.Signals"
    callback = f"+callbacks.signals={{_target_: {target}, " + ", ".join(f"{k}: {v}" for k, v in when.items()) + "}"
    with pytest.raises(SystemExit) as left:
        train(make_config(f"max_epochs={EPOCHS}", callback))
    assert left.value.code == 128 + signal.SIGTERM


def resume_and_compare(make_config, tmp_path: Path, uninterrupted: Path) -> None:
    train(make_config(f"max_epochs={EPOCHS}", "ckpt_path=last"))
    assert largest_difference(tmp_path / "run" / LAST, uninterrupted / LAST) == 0
    assert read_checkpoint(tmp_path / "run" / LAST)["batches"] == EPOCHS * 5


def test_resume_at_an_epochs_end_is_exact(make_config, tmp_path, uninterrupted) -> None:
    train(make_config("max_epochs=1"))
    resume_and_compare(make_config, tmp_path, uninterrupted)


@pytest.mark.parametrize("batch", [0, 2, 4, 5, 8, 14])  # 4 and 14 are the last of their epochs
def test_resume_after_sigterm_in_a_batch_is_exact(make_config, tmp_path, uninterrupted, batch) -> None:
    interrupt(make_config, tmp_path, train_batch=batch)
    assert read_checkpoint(tmp_path / "run" / LAST)["batches"] == batch + 1
    resume_and_compare(make_config, tmp_path, uninterrupted)


@pytest.mark.parametrize("val_batch", [1, 3, 4, 5])
def test_resume_after_sigterm_in_validation_is_exact(make_config, tmp_path, uninterrupted, val_batch) -> None:
    interrupt(make_config, tmp_path, val_batch=val_batch)  # of two an epoch
    resume_and_compare(make_config, tmp_path, uninterrupted)


def test_resume_with_augmented_images_is_exact(make_config, tmp_path) -> None:
    first = ("crop=0.6", "grey_weights=20", "L_blur=1", "L_gamma=1.5", "L_noise=5")
    later = ("orthochromatic=0.3", "L_fade=30", "L_scratches=2", "L_jpeg=40")
    augment = [f"data.augment.{key}" for key in (*first, *later)]
    train(make_config("max_epochs=2", *augment, run="whole"))
    failing = f"+callbacks.failing={{_target_: {__name__}.FailsAt, batch: 8}}"
    with pytest.raises(RuntimeError, match="some failure"):
        train(make_config("max_epochs=2", *augment, "callbacks.last.every_n_batches=3", failing))
    train(make_config("max_epochs=2", *augment, "ckpt_path=last"))
    assert largest_difference(tmp_path / "run" / LAST, tmp_path / "whole" / LAST) == 0


class FailsAt(Callback):
    """Fails at a batch, as a full disk or a bug would."""

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def on_train_batch_start(self, trainer, module, *_) -> None:
        if module.batches == self.batch:
            raise RuntimeError("some failure")


def test_resume_from_a_save_within_an_epoch_is_exact(make_config, tmp_path, uninterrupted) -> None:
    failing = f"+callbacks.failing={{_target_: {__name__}.FailsAt, batch: 8}}"
    with pytest.raises(RuntimeError, match="some failure"):
        train(make_config(f"max_epochs={EPOCHS}", "callbacks.last.every_n_batches=3", failing))
    assert read_checkpoint(tmp_path / "run" / LAST)["batches"] == 6
    resume_and_compare(make_config, tmp_path, uninterrupted)


def test_what_a_killed_run_left_half_written_is_removed(make_config, tmp_path) -> None:
    train(make_config("max_epochs=1"))
    (tmp_path / "run/checkpoints/.last.4711.ckpt").write_bytes(b"half")
    train(make_config("max_epochs=2", "ckpt_path=last"))
    assert {path.name for path in (tmp_path / "run/checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}


def test_a_resumed_run_takes_the_configs_lr(make_config, tmp_path) -> None:
    train(make_config("max_epochs=1"))
    train(make_config("max_epochs=2", "ckpt_path=last", "lr=1e-5"))
    rows = csv.DictReader((tmp_path / "run/metrics.csv").read_text().splitlines())
    assert [float(row["train/lr_G"]) for row in rows] == pytest.approx([2e-4] * 5 + [1e-5] * 5)


def test_resuming_a_finished_run_validates_it(make_config, tmp_path) -> None:
    first = train(make_config("max_epochs=1"))
    again = train(make_config("max_epochs=1", "ckpt_path=last"))
    assert again["val/l1"] == pytest.approx(first["val/l1"])


def test_resuming_with_another_network_names_the_option_that_would_do(make_config) -> None:
    train(make_config("max_epochs=1"))
    with pytest.raises(
        UserError, match=r"cannot be resumed with generator.num_filters=8: set generator.num_filters=4, or"
    ):
        train(make_config("max_epochs=2", "ckpt_path=last", "generator.num_filters=8"))


def test_resume_into_another_directory_is_exact(make_config, tmp_path, uninterrupted) -> None:
    interrupt(make_config, tmp_path, train_batch=7)
    shutil.move(tmp_path / "run", tmp_path / "first")
    train(make_config(f"max_epochs={EPOCHS}", f"ckpt_path={tmp_path / 'first' / LAST}"))
    assert largest_difference(tmp_path / "run" / LAST, uninterrupted / LAST) == 0

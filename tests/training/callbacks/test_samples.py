"""Samples of an epoch: images, evaluation mode, loggers, and step."""

import contextlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from colorize.data import Batch
from colorize.training.callbacks.samples import SampleGrid


class Recorder:
    """A logger with one method, which notes how it was called."""

    def __init__(self, method: str) -> None:
        self.calls = []
        setattr(self, method, lambda *args, **kwargs: self.calls.append((args, kwargs)))


class Store:
    """Rows of a validation set of grey images; notes which were asked for."""

    def __init__(self, count: int) -> None:
        self.val_rows = list(range(count))
        self.asked = []

    def val_batch(self, rows: list[int], device: torch.device) -> Batch:
        self.asked.append(rows)
        return Batch(torch.zeros(len(rows), 1, 16, 16), torch.zeros(len(rows), 2, 16, 16), torch.tensor(rows))


class Painter(nn.Module):
    """Gives one color; notes whether it was in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.modes = []

    def forward(self, L: torch.Tensor) -> torch.Tensor:
        self.modes.append((self.training, torch.is_grad_enabled()))
        return torch.full((len(L), 2, 16, 16), 0.3)


@pytest.fixture
def wandb() -> Recorder:
    return Recorder("log_image")


@pytest.fixture
def tensorboard() -> Recorder:
    return Recorder("add_image")


@pytest.fixture
def trainer(wandb: Recorder, tensorboard: Recorder) -> SimpleNamespace:
    store = Store(9)
    return SimpleNamespace(
        is_global_zero=True,
        datamodule=SimpleNamespace(store=store, val_batch=store.val_batch),
        precision_plugin=SimpleNamespace(forward_context=contextlib.nullcontext),
        loggers=[wandb, SimpleNamespace(experiment=tensorboard), SimpleNamespace(experiment=None), SimpleNamespace()],
        current_epoch=0,
        global_step=10,
    )


@pytest.fixture
def module() -> SimpleNamespace:
    return SimpleNamespace(device=torch.device("cpu"), inference_generator=Painter().train())


def end_epoch(grid: SampleGrid, trainer: SimpleNamespace, module: SimpleNamespace, epoch: int, steps: int) -> None:
    trainer.current_epoch, trainer.global_step = epoch, steps
    grid.on_train_epoch_end(trainer, module)


def test_the_first_validation_images_are_shown(trainer, module, tmp_path) -> None:
    end_epoch(SampleGrid(str(tmp_path), num_images=2), trainer, module, 0, 10)
    end_epoch(SampleGrid(str(tmp_path)), trainer, module, 0, 10)
    assert trainer.datamodule.store.asked == [[0, 1], list(range(8))]


def test_the_generator_paints_in_evaluation_and_goes_back_to_training(trainer, module, tmp_path) -> None:
    end_epoch(SampleGrid(str(tmp_path)), trainer, module, 0, 10)
    assert module.inference_generator.modes == [(False, False)]
    assert module.inference_generator.training


def test_a_picture_is_handed_out_after_the_next_epoch_and_at_the_end(
    trainer, module, wandb, tensorboard, tmp_path
) -> None:
    grid = SampleGrid(str(tmp_path), num_images=1)
    end_epoch(grid, trainer, module, 6, 10)
    assert not wandb.calls
    end_epoch(grid, trainer, module, 7, 20)
    paths = [str(tmp_path / name) for name in ("epoch-006.png", "epoch-007.png")]
    first = (("samples", paths[:1]), {"step": 9, "caption": ["epoch 6"]})  # the step of the last batch, from 0
    assert wandb.calls == [first]
    trainer.global_step = 25
    for _ in range(2):
        grid.on_fit_end(trainer, module)
    assert wandb.calls == [first, (("samples", paths[1:]), {"step": 19, "caption": ["epoch 7"]})]
    ((name, picture, step), about), _ = tensorboard.calls
    assert (name, step, about) == ("samples", 9, {"dataformats": "HWC"})
    assert np.array_equal(picture, np.asarray(Image.open(paths[0])))


def test_one_process_draws(trainer, module, tmp_path) -> None:
    trainer.is_global_zero = False
    grid = SampleGrid(str(tmp_path))
    end_epoch(grid, trainer, module, 0, 10)
    grid.on_fit_end(trainer, module)
    assert not list(tmp_path.iterdir()) and not module.inference_generator.modes


def test_without_validation_images_nothing_is_drawn(trainer, module, wandb, tmp_path) -> None:
    trainer.datamodule.store.val_rows = []
    grid = SampleGrid(str(tmp_path))
    end_epoch(grid, trainer, module, 0, 10)
    grid.on_fit_end(trainer, module)
    assert not list(tmp_path.iterdir()) and not wandb.calls


def test_a_picture_that_cannot_be_written_is_told(trainer, module, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    grid = SampleGrid(str(tmp_path / "file"))
    end_epoch(grid, trainer, module, 0, 10)
    with pytest.raises(OSError, match="file"):
        grid.on_fit_end(trainer, module)


def test_a_picture_has_a_row_an_image_and_three_columns(trainer, module, tmp_path) -> None:
    grid = SampleGrid(str(tmp_path), num_images=2)
    end_epoch(grid, trainer, module, 0, 10)
    grid.on_fit_end(trainer, module)
    with Image.open(tmp_path / "epoch-000.png") as picture:
        assert picture.size == (3 * (128 + 4) + 4, 22 + 2 * (128 + 4))  # 16 pixels enlarged to 128

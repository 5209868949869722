"""From a store to batches: order, flips, Lab, counts."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.color import rgb2lab

from colorize.base.errors import UserError
from colorize.data import ColorizationDataModule
from colorize.data.module import EpochSampler
from colorize.data.store import ImageStore


def sampler(**changes) -> EpochSampler:
    return EpochSampler(**({"rows": torch.arange(10, 30), "batch_size": 3, "seed": 0} | changes))


def drawn(epoch_sampler: EpochSampler, epoch: int) -> list[tuple[list[int], list[bool]]]:
    epoch_sampler.set_epoch(epoch)
    return [(picks.rows.tolist(), picks.flips.tolist()) for picks in epoch_sampler]


def test_order_and_flips_depend_on_seed_and_epoch_alone() -> None:
    assert drawn(sampler(), 4) == drawn(sampler(), 4)
    assert drawn(sampler(), 4) != drawn(sampler(), 5)
    assert drawn(sampler(), 4) != drawn(sampler(seed=1), 4)


def test_a_resumed_epoch_goes_on_where_it_stopped() -> None:
    assert drawn(sampler(batches_done=lambda: 4), 2) == drawn(sampler(), 2)[4:]


def test_devices_share_an_epoch_without_overlap() -> None:
    parts = [drawn(sampler(rank=rank, world_size=2), 0) for rank in range(2)]
    rows = [row for part in parts for batch, _ in part for row in batch]
    assert len(rows) == len(set(rows)) == 18


def test_about_half_of_the_images_are_mirrored() -> None:
    flips = [flip for _, batch in drawn(sampler(rows=torch.arange(1000)), 0) for flip in batch]
    assert 0.45 < np.mean(flips) < 0.55


def test_flipping_can_be_turned_off() -> None:
    assert not any(flip for _, batch in drawn(sampler(flip=False), 0) for flip in batch)


@pytest.fixture
def data(folder, tmp_path) -> ColorizationDataModule:
    module = ColorizationDataModule(
        "folder", image_size=16, batch_size=4, num_train=7, num_val=3, store_dir=str(tmp_path / "s"), root=str(folder)
    )
    module.setup("validate")
    return module


def test_batches_are_lab_of_the_stores_images(data) -> None:
    batch = data.val_batch(data.store.val_rows, torch.device("cpu"))
    images = data.store.pixels[data.store.val_rows.numpy()].transpose(0, 2, 3, 1)
    lab = torch.from_numpy(rgb2lab(images)).permute(0, 3, 1, 2).float()
    torch.testing.assert_close(batch.L, lab[:, :1] / 50 - 1, atol=1e-5, rtol=0)
    torch.testing.assert_close(batch.ab, lab[:, 1:] / 110, atol=1e-5, rtol=0)


def test_flipped_images_are_mirrored(data) -> None:
    from colorize.data.feed import Picks

    rows = data.store.train_rows[:2]
    picks = Picks(rows, torch.tensor([True, False]))
    batch = data.transfer_batch_to_device(picks, torch.device("cpu"), 0)
    plain = data.val_batch(rows, torch.device("cpu"))
    assert torch.equal(batch.L[0], plain.L[0].flip(-1)) and torch.equal(batch.ab[0], plain.ab[0].flip(-1))
    assert torch.equal(batch.L[1], plain.L[1])


def test_validation_covers_every_image_once(data) -> None:
    rows = torch.cat([picks.rows for picks in data.val_dataloader()])
    assert rows.tolist() == data.store.val_rows.tolist()


def sparse_store(folder: Path, train: int, val: int) -> ImageStore:
    """Make a store of black images of 256x256, which take no space."""
    folder.mkdir()
    shape = [train + val, 3, 256, 256]
    (folder / "pixels.u8").touch()
    os.truncate(folder / "pixels.u8", int(np.prod(shape)))
    rows = list(range(train + val))
    index = {
        "shape": shape,
        "val": rows[:val],
        "train": rows[val:],
        "ids": rows,
        "skipped": 0,
        "digest": "",
        "trained_on": "",
    }
    (folder / "index.json").write_text(json.dumps(index))
    return ImageStore(folder)


def test_the_reports_numbers_give_500_and_125_batches_of_its_shapes(tmp_path) -> None:
    """The loaders count the entries, one batch is read."""
    data = ColorizationDataModule("folder")
    data.store = sparse_store(tmp_path / "store", train=8000, val=2000)
    assert len(EpochSampler(data.store.train_rows, data.batch_size, 0)) == 500
    assert len(data.val_dataloader()) == 125
    batch = data.val_batch(next(iter(data.val_dataloader())).rows, torch.device("cpu"))
    assert batch.L.shape == (16, 1, 256, 256) and batch.ab.shape == (16, 2, 256, 256)


def test_a_batch_larger_than_the_training_set_is_refused(data) -> None:
    data.batch_size = 8
    with pytest.raises(UserError, match="batch_size=8 is more than the 7 training images"):
        data.setup("fit")

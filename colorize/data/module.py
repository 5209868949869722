"""The LightningDataModule: the loader yields indices; images are gathered, flipped and converted on the device."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from colorize.base.checks import at_least, true_or_false
from colorize.base.errors import UserError
from colorize.base.seeds import seed_for
from colorize.data.augment import Augment, Drawn
from colorize.data.feed import Batch, LabCache, Picks, StreamedPixels, choose_feed, to_batch, to_device
from colorize.data.sources import SOURCES
from colorize.data.store import ImageStore, build_store

CUDA_VAL_BATCH = 64  # minimum size: without gradients it fits, and small batches leave a GPU idle


class EpochSampler(Sampler[Picks]):
    """Yields training batches, whose order, flips and augmentation are pure functions of (seed, epoch).

    Every epoch permutes all images; an incomplete last batch is dropped, so that shapes are static.

    Args:
        rows: ``(N,)`` rows of the store.
        batch_size: images per batch and device.
        seed: seed of order, flips and augmentation.
        flip: whether to flip half of the images horizontally.
        batches_done: returns the number of batches of the epoch that an interrupted run has finished.
        rank: index of this device.
        world_size: number of devices, which share each epoch.
        augment: further augmentation.
    """

    def __init__(
        self,
        rows: Tensor,
        batch_size: int,
        seed: int,
        flip: bool = True,
        batches_done: Callable[[], int] = lambda: 0,
        rank: int = 0,
        world_size: int = 1,
        augment: Augment | None = None,
    ) -> None:
        self.rows = rows
        self.batch_size = batch_size
        self.seed = seed
        self.flip = flip
        self.batches_done = batches_done
        self.rank = rank
        self.world_size = world_size
        self.augment = augment
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration; Lightning calls it."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.rows) // (self.batch_size * self.world_size)

    def __iter__(self) -> Iterator[Picks]:
        # As a generator, it runs only at the first batch, when epoch and batches_done are known
        draw = torch.Generator().manual_seed(seed_for("order and flips", self.seed, self.epoch))
        order = self.rows[torch.randperm(len(self.rows), generator=draw)][self.rank :: self.world_size]
        flips = torch.rand(len(order), generator=draw) < (0.5 if self.flip else 0.0)
        changes = None
        if self.augment:
            changes = self.augment.draw(len(self.rows), self.seed, self.epoch)[self.rank :: self.world_size]
        for batch in range(self.batches_done(), len(self)):
            part = slice(batch * self.batch_size, (batch + 1) * self.batch_size)
            drawn = None
            if changes is not None:
                drawn = Drawn(changes[part], seed_for("noise", self.seed, self.epoch, self.rank, batch))
            yield Picks(order[part], flips[part], drawn)


class _Identity(Dataset[Picks]):
    """Returns its index: the sampler already yields whole batches."""

    def __getitem__(self, picks: Picks) -> Picks:
        return picks


class ColorizationDataModule(LightningDataModule):
    """Images of a data set as Lab batches.

    Args:
        name: ``coco``, ``folder`` or ``scenes``.
        image_size: side in pixels; images are stretched to it.
        batch_size: images per batch and device.
        num_train: number of training images; ``None`` for all that are not validation images.
        num_val: number of validation images; ``None`` for a fifth.
        seed: seed of order, flips and augmentation in training.
        split_seed: seed of the split; separate from ``seed``, so that runs with different seeds share their images.
        flip: whether to flip half of the training images horizontally.
        augment: arguments for `Augment`.
        store_dir: folder of the image stores.
        val_images: number of images to score after each epoch, the first of the validation set; ``None`` for a
            sixteenth of the number of training images. Validation outside of training scores all.
        verify: whether to compare all of an existing image store with its digests, or only a part.
        resident: whether to keep the images on the training device (see `choose_feed`).
        compile: whether to compile flipping and Lab conversion with torch.compile.
        **source: arguments of the data set, such as ``root``.
    Raises:
        UserError: if the data set is unknown, missing, empty or too small.
    """

    def __init__(
        self,
        name: str,
        image_size: int = 256,
        batch_size: int = 16,
        num_train: int | None = 8000,
        num_val: int | None = 2000,
        seed: int = 0,
        split_seed: int = 0,
        flip: bool = True,
        store_dir: str = "data/stores",
        val_images: int | None = None,
        verify: bool = False,
        resident: bool | str = False,
        compile: bool = False,
        augment: dict[str, float | None] | None = None,
        **source: Any,
    ) -> None:
        super().__init__()
        for key, value in (("num_train", num_train), ("num_val", num_val)):
            at_least(f"data.{key}", value, 0, whole=True, also=(None,))
        at_least("data.batch_size", batch_size, 1, whole=True)
        at_least("data.split_seed", split_seed, 0, whole=True)
        for key, value in (("flip", flip), ("verify", verify)):
            true_or_false(f"data.{key}", value)
        self.name = name
        self.source = source
        self.image_size = image_size
        self.batch_size = batch_size
        self.num_train = num_train
        self.num_val = num_val
        self.seed = seed
        self.split_seed = split_seed
        self.flip = flip
        self.augment = Augment(**augment or {})
        self.store_dir = Path(store_dir)
        self.val_images = val_images
        self.verify = verify
        self.resident = resident
        self.store: ImageStore | None = None
        self._folder: Path | None = None
        self._feed: StreamedPixels | LabCache | None = None
        self._convert = torch.compile(to_batch) if compile else to_batch

    def prepare_data(self) -> None:
        """Download missing images and build the image store, if necessary."""
        if self.store is None:
            self._folder = self._build()

    def setup(self, stage: str | None = None) -> None:
        """Open the image store."""
        self.store = self.store or ImageStore(self._folder or self._build())
        images = len(self.store.train_rows)
        if stage == "fit" and images < self.batch_size:
            raise UserError(f"batch_size={self.batch_size} is more than the {images} training images")

    def state_dict(self) -> dict[str, Any]:
        """Return the digests that checkpoints record: of all images, and of the training images, for `eval.py`."""
        return {"images": self.store.digest, "trained_on": self.store.trained_on}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Check that a resumed run has the same images.

        Raises:
            UserError: if an image, its side of the split or its row differs.
        """
        if state_dict.get("images", self.store.digest) != self.store.digest:
            raise UserError(
                f"data={self.name}: the images or their split differ from those that the checkpoint was trained on; "
                "restore them, or start a new run, without ckpt_path"
            )

    def _build(self) -> Path:
        source = dict(self.source)
        if self.name == "scenes" and source.get("num_images") is None:  # draw as many as needed
            source["num_images"] = (self.num_train or 0) + (self.num_val or 0)
        return build_store(
            SOURCES.build(self.name, **source),
            self.store_dir,
            num_train=self.num_train,
            num_val=self.num_val,
            image_size=self.image_size,
            split_seed=self.split_seed,
            verify=self.verify,
        )

    def train_dataloader(self) -> DataLoader:
        """Return the loader of training batches; a resumed run continues at the checkpoint's position."""
        progress = self.trainer.fit_loop.epoch_loop.batch_progress
        sampler = EpochSampler(
            self.store.train_rows,
            self.batch_size,
            self.seed,
            self.flip,
            lambda: progress.current.ready,
            self.trainer.global_rank,
            self.trainer.world_size,
            self.augment,
        )
        return self._loader(sampler)

    def val_dataloader(self) -> DataLoader:
        """Return the loader of the validation images, in order; in training, of the first ``val_images``."""
        rows, size = self.store.val_rows, self.batch_size
        if self.trainer is not None:
            if self.trainer.state.fn == TrainerFn.FITTING:
                rows = rows[: self.scored_each_epoch]
            rows = rows[self.trainer.global_rank :: self.trainer.world_size]
            if self.trainer.strategy.root_device.type == "cuda":
                size = max(size, CUDA_VAL_BATCH)
        return self._loader([_unflipped(part) for part in rows.split(size)])

    @property
    def scored_each_epoch(self) -> int:
        """Return the number of validation images that training scores after each epoch."""
        enough = self.val_images or max(self.batch_size, len(self.store.train_rows) // 16)
        return min(enough, len(self.store.val_rows))

    @property
    def images_kept(self) -> str:
        """Return the class name of the feed, which says where the images are kept."""
        return type(self._feed).__name__

    def _loader(self, batches: Sampler[Picks] | list[Picks]) -> DataLoader:
        # A separate generator, since starting a loader would draw from the global one
        return DataLoader(_Identity(), sampler=batches, batch_size=None, generator=torch.Generator())

    def transfer_batch_to_device(self, batch: Picks | Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Gather the images of the batch, flip, convert to Lab and augment them, in float32, on the device."""
        if isinstance(batch, Batch):
            return super().transfer_batch_to_device(batch, device, dataloader_idx)
        if self._feed is None or self._feed.device != device:
            self._feed = choose_feed(self.store, device, self.resident, self._convert)
        found = self._feed.take(batch)
        if batch.drawn is None:
            return found
        drawn = batch.drawn._replace(values=to_device(batch.drawn.values, device))
        return Batch(*self.augment(found.L, found.ab, drawn), found.ids)

    def val_batch(self, rows: Tensor, device: torch.device) -> Batch:
        """Return rows of the store as a batch, without flips."""
        return self.transfer_batch_to_device(_unflipped(rows), device, 0)


def _unflipped(rows: Tensor) -> Picks:
    return Picks(rows, torch.zeros(len(rows), dtype=torch.bool))

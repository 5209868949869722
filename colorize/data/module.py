"""The data module: indices in the loader; images gathered, flipped and turned into Lab on the device."""

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

CUDA_VAL_BATCH = 64  # images at least: without gradients they fit, and a GPU is idle between small batches


class EpochSampler(Sampler[Picks]):
    """Training batches, whose order, flips and augmentation are pure functions of (seed, epoch).

    Every epoch permutes all images; an incomplete last batch is left out, so that shapes stay static.

    Args:
        rows: ``(N,)`` rows of the store.
        batch_size: images a batch and device.
        seed: of order, flips and augmentation.
        flip: mirror half of the images.
        batches_done: tells how many batches of the epoch an interrupted run has already seen.
        rank: this device among ``world_size``.
        world_size: devices that share each epoch.
        augment: how else images are changed.
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
        """Choose the epoch that the next iteration runs; Lightning calls it."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.rows) // (self.batch_size * self.world_size)

    def __iter__(self) -> Iterator[Picks]:
        # A generator: its first line runs at the first batch, when epoch and batches_done are known
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


class _Passed(Dataset[Picks]):
    """The sampler already holds what a batch is."""

    def __getitem__(self, picks: Picks) -> Picks:
        return picks


class ColorizationDataModule(LightningDataModule):
    """Images of a data set as Lab batches.

    Args:
        name: ``coco``, ``folder`` or ``scenes``.
        image_size: pixels a side; images are stretched to it.
        batch_size: images a batch and device.
        num_train: training images; ``None`` takes all that are left.
        num_val: validation images; ``None`` takes a fifth.
        seed: of order, flips and augmentation in training.
        split_seed: of the split; apart from ``seed``, so that runs of several seeds share their images.
        flip: mirror half of the training images.
        augment: arguments for `Augment`, which changes training images further.
        store_dir: folder that keeps the image stores.
        val_images: images that are scored after each epoch, the first of the validation set; ``None`` takes a
            sixteenth of the training images. Validation outside of training scores all.
        verify: compare all of an image store that is here with its digests; else a part of it.
        resident: keep the images where training runs (see `choose_feed`).
        compile: let torch.compile fuse mirroring and Lab conversion.
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
        """Fetch what is missing and build the image store, unless both are done."""
        if self.store is None:
            self._folder = self._build()

    def setup(self, stage: str | None = None) -> None:
        """Open the image store."""
        self.store = self.store or ImageStore(self._folder or self._build())
        images = len(self.store.train_rows)
        if stage == "fit" and images < self.batch_size:
            raise UserError(f"batch_size={self.batch_size} is more than the {images} training images")

    def state_dict(self) -> dict[str, Any]:
        """Return what every checkpoint says of its images: a digest of all, and one of those of training.

        `eval.py` looks the second one up.
        """
        return {"images": self.store.digest, "trained_on": self.store.trained_on}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Refuse to go on with other images.

        Raises:
            UserError: if an image, its side of the split or its place differs.
        """
        if state_dict.get("images", self.store.digest) != self.store.digest:
            raise UserError(
                f"data={self.name}: images or their split are not those that the checkpoint was trained on; "
                "bring these back, or start a new run, without ckpt_path"
            )

    def _build(self) -> Path:
        source = dict(self.source)
        if self.name == "scenes" and source.get("num_images") is None:  # drawn to order
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
        """Return the loader of training batches; a resumed run goes on where the checkpoint was written."""
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
        """Return the loader of the validation images, in their order; in training, of the first ``val_images``."""
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
        """Return how many validation images training scores after each epoch."""
        enough = self.val_images or max(self.batch_size, len(self.store.train_rows) // 16)
        return min(enough, len(self.store.val_rows))

    @property
    def images_kept(self) -> str:
        """Return where the images stay, in a word."""
        return type(self._feed).__name__

    def _loader(self, batches: Sampler[Picks] | list[Picks]) -> DataLoader:
        # Its own generator: starting a loader must not draw from the global one
        return DataLoader(_Passed(), sampler=batches, batch_size=None, generator=torch.Generator())

    def transfer_batch_to_device(self, batch: Picks | Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Gather the images of the batch, mirror, convert to Lab and augment them, in float32, on the device."""
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
        """Return chosen images of the store as a batch, without flips, outside of any loader."""
        return self.transfer_batch_to_device(_unflipped(rows), device, 0)


def _unflipped(rows: Tensor) -> Picks:
    return Picks(rows, torch.zeros(len(rows), dtype=torch.bool))

"""The image store: every image decoded and resized once, in one uint8 file shared by many jobs."""

import csv
import hashlib
import json
import logging
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from colorize.base.errors import UserError
from colorize.base.files import replacing_folder, write_csv, write_json
from colorize.data.decode import NEAR_GREY, SAME_PICTURE, Decoded, DecodeTask, decode_images, reserve
from colorize.data.selection import Selection, seeded_order
from colorize.data.sources import Candidate, Source
from colorize.data.sums import SUMS, damage_of, write_sums

log = logging.getLogger(__name__)

FORMAT = 3  # version of the folder's format; part of the fingerprint
NAMED = 5  # maximum number of skipped files named in the log


class ImageStore:
    """A built store, opened read-only.

    A store is a folder: ``pixels.u8`` ``(rows, 3, size, size)`` uint8, ``index.json``, ``manifest.csv`` (id,
    file, SHA-256 of the file and of its decoded pixels, split, row), ``skipped.csv`` (id, file, reason) and
    ``sums.json``, see `colorize.data.sums`.

    Args:
        folder: see `build_store`.
    Attributes:
        digest: digest of all images, their side of the split and their rows; independent of the files' paths.
        trained_on: digest of all training images; independent of the store's image size and path.
    """

    def __init__(self, folder: Path) -> None:
        index = json.loads((folder / "index.json").read_text())
        self.folder = folder
        self.skipped: int = index["skipped"]
        self.digest: str = index["digest"]
        self.trained_on: str = index["trained_on"]
        self.train_rows = torch.tensor(index["train"], dtype=torch.int64)
        self.val_rows = torch.tensor(index["val"], dtype=torch.int64)
        self.ids = torch.tensor(index["ids"], dtype=torch.int64)
        self.pixels = np.memmap(folder / "pixels.u8", dtype=np.uint8, mode="r", shape=tuple(index["shape"]))

    def gather(self, rows: Tensor) -> Tensor:
        """Return the images of ``rows`` ``(B,)`` as uint8 ``(B, 3, H, W)``."""
        return torch.from_numpy(self.pixels[rows.numpy()])

    def pictures(self) -> dict[int, str]:
        """Return the digest of each image's decoded pixels, by its row."""
        return {int(row["row"]): row["picture"] for row in _manifest(self.folder)}


def training_pictures(trained_on: str, store_dirs: Iterable[Path]) -> set[str] | None:
    """Return the digests of a training set's images, from any store with the same training set.

    Args:
        trained_on: digest of the training set, see `ImageStore`.
        store_dirs: folders of image stores.
    Returns:
        the digests, see `ImageStore.pictures`; ``None`` if there is no such store.
    """
    for store_dir in store_dirs:
        for index in store_dir.glob("[!.]*/index.json"):  # names of unfinished stores begin with a dot
            try:
                found = json.loads(index.read_text()).get("trained_on") == trained_on
            except (OSError, ValueError, AttributeError, RecursionError):
                continue  # damaged; another may have the same images
            if found:
                return {row["picture"] for row in _manifest(index.parent) if row["split"] == "train"}
    return None


def _manifest(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(newline="", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def build_store(
    source: Source,
    store_dir: Path,
    *,
    num_train: int | None,
    num_val: int | None,
    image_size: int,
    split_seed: int = 0,
    verify: bool = False,
) -> Path:
    """Find the store of a data set, or build it, and return its folder.

    Only one process builds a store; others wait for it. It is written to a temporary folder and renamed. A damaged
    store is rebuilt.

    Duplicates are removed: of files with equal decoded pixels, the first in order is kept, validation before training,
    and the others count as unusable.

    Args:
        source: the data set.
        store_dir: folder of the stores.
        num_train: number of training images; ``None`` for all that are not validation images.
        num_val: number of validation images; ``None`` for a fifth.
        image_size: side in pixels; images are stretched to it, bicubic with antialiasing.
        split_seed: seed of the order that determines the split.
        verify: whether to compare all of an existing store with its digests, or only a part, see
            `colorize.data.sums.damage_of`.
    Raises:
        UserError: if there are too few usable images.
        OSError: if ``store_dir`` cannot be written or has no space left.
    """
    settings = [FORMAT, num_train, num_val, image_size, split_seed, type(source).__name__, source.fingerprint()]
    name = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:16]
    folder = store_dir / name
    if folder.exists() and (folder / SUMS).exists() and not damage_of(folder, verify):
        return folder
    store_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(store_dir / f"{name}.lock"):
        damage = damage_of(folder, verify) if folder.exists() else None  # another process may have built it meanwhile
        if damage:
            log.warning("image store %s is damaged (%s): rebuilding it", folder, damage)
        elif folder.exists():
            if not (folder / SUMS).exists():
                log.info("image store %s has no digests yet: using it as it is", folder)
                write_sums(folder)
            return folder
        with replacing_folder(folder) as temporary:
            selection = Selection(seeded_order(source.candidates(), split_seed), num_train, num_val)
            _build(source, selection, temporary, image_size)
            write_sums(temporary)
            shutil.rmtree(folder, ignore_errors=True)  # only now, in case building fails
    return folder


def _build(source: Source, selection: Selection, folder: Path, size: int) -> None:
    """Fill every slot, replacing unusable images, until all are filled or no candidate is left."""
    if selection.too_many and any(c.url and not c.path.exists() for c in selection.slots):
        raise selection.too_few(tried=False)  # before a download that cannot suffice
    pixels = folder / "pixels.u8"
    with pixels.open("wb") as file:
        reserve(file.fileno(), len(selection.slots) * 3 * size * size)
    usable: dict[int, Decoded] = {}
    first: dict[str, Candidate] = {}  # by digest of the pixels
    unavailable = source.fetch(selection.slots)
    # Validation is filled first, so that its images do not depend on num_train
    for part in (range(selection.num_val), range(selection.num_val, len(selection.slots))):
        pending = list(part)
        while pending:
            tasks = [DecodeTask(slot, selection.slots[slot].path, pixels, size) for slot in pending]
            reasons = {task.row: unavailable[task.image] for task in tasks if task.image in unavailable}
            for outcome in decode_images([task for task in tasks if task.row not in reasons]):  # in this order
                candidate = selection.slots[outcome.row]
                if outcome.reason:
                    reasons[outcome.row] = outcome.reason
                elif first.setdefault(outcome.picture, candidate) is not candidate:
                    reasons[outcome.row] = f"{SAME_PICTURE} {first[outcome.picture].id}"
                else:
                    usable[outcome.row] = outcome
            pending = [slot for slot in sorted(reasons) if selection.reject(slot, reasons[slot])]
            unavailable |= source.fetch([selection.slots[slot] for slot in pending])
    selection.settle()
    _write_index(selection, usable, folder, size)


def _write_index(selection: Selection, usable: dict[int, Decoded], folder: Path, size: int) -> None:
    kept: dict[int, Candidate] = {slot: c for slot, c in enumerate(selection.slots) if c is not None}
    val = [slot for slot in kept if selection.is_val(slot)]
    train = [slot for slot in kept if not selection.is_val(slot)]
    if not kept:
        raise UserError(f"no usable image: {len(selection.rejected)} skipped, the first: {selection.rejected[0][1]}")
    rows = [
        {"id": c.id, "file": c.path, "sha256": usable[slot].sha256, "picture": usable[slot].picture}
        | {"split": "val" if selection.is_val(slot) else "train", "row": slot}
        for slot, c in kept.items()
    ]
    write_csv(folder / "manifest.csv", ["id", "file", "sha256", "picture", "split", "row"], rows)
    skipped = [{"id": c.id, "file": c.path, "reason": reason} for c, reason in selection.rejected]
    write_csv(folder / "skipped.csv", ["id", "file", "reason"], skipped)
    ids = [c.id if c is not None and isinstance(c.id, int) else slot for slot, c in enumerate(selection.slots)]
    index = {
        "shape": [len(selection.slots), 3, size, size],
        "train": train,
        "val": val,
        "ids": ids,
        "skipped": len(selection.rejected),
        "digest": _digest(f"{usable[slot].picture} {selection.is_val(slot)} {slot}\n" for slot in kept),
        "trained_on": _digest(sorted(usable[slot].picture for slot in train)),
    }
    write_json(folder / "index.json", index, indent=None)
    if selection.rejected:
        _log_skipped(selection.rejected, len(kept))


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def _log_skipped(rejected: list[tuple[Candidate, str]], kept: int) -> None:
    grey = sum(reason == NEAR_GREY for _, reason in rejected)
    doubles = sum(reason.startswith(SAME_PICTURE) for _, reason in rejected)
    bad = [c.path.name for c, reason in rejected if reason != NEAR_GREY and not reason.startswith(SAME_PICTURE)]
    named = f" ({', '.join(bad[:NAMED])}{', ...' if len(bad) > NAMED else ''})" if bad else ""
    log.warning(
        "skipped %d of %d images: %d near-grey, %d unreadable or missing%s, %d the same picture as another; "
        "listed in skipped.csv of the store",
        len(rejected), len(rejected) + kept, grey, len(bad), named, doubles,
    )  # fmt: skip

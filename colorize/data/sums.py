"""Integrity checks of an image store: digests of its files, and of its pixels by blocks."""

import hashlib
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from colorize.base.claims import from_json
from colorize.base.digests import sha256
from colorize.base.files import write_json

SUMS = "sums.json"
PIXELS = "pixels.u8"
SMALL = ("index.json", "manifest.csv", "skipped.csv")  # 2.4 MB for 10,000 images: always compared completely
BLOCK = 1 << 20  # bytes
CHECKED = 16  # blocks compared when a store is opened


def write_sums(folder: Path) -> None:
    """Write the digests of a store's current files."""
    count = -(-(folder / PIXELS).stat().st_size // BLOCK)
    sums = {file: sha256(folder / file) for file in SMALL}
    write_json(folder / SUMS, sums | {"blocks": _digests(folder / PIXELS, range(count))}, indent=None)


def damage_of(folder: Path, whole: bool = False) -> str | None:
    """Return a short description of a store's damage; ``None`` if it is intact.

    Without ``whole``, it compares the small files, the size of the pixels, and 16 of their blocks of 2^20 bytes: the
    first, the last, and random others. If half of the blocks are damaged, this misses it once in 16,000 times; only
    ``whole`` is certain to find a single flipped bit.

    For older stores without digests, only the size is checked.
    """
    try:
        if not (folder / SUMS).exists():
            index = _read(folder / SMALL[0])
            rows, planes, height, width = index["shape"]
            fits = (folder / PIXELS).stat().st_size == rows * planes * height * width
            return None if fits else f"{PIXELS} has the wrong size"
        sums = _read(folder / SUMS)
        for file in SMALL:
            if sums[file] != sha256(folder / file):
                return f"{file} has changed"
        rows, planes, height, width = _read(folder / SMALL[0])["shape"]
        if (folder / PIXELS).stat().st_size != rows * planes * height * width:
            return f"{PIXELS} has the wrong size"
        blocks = sums["blocks"]
        chosen = range(len(blocks))
        if not whole and len(blocks) > CHECKED:
            among = random.Random().sample(chosen[1:-1], CHECKED - 2)  # independent of a run's seed
            chosen = [0, *sorted(among), len(blocks) - 1]
        if _digests(folder / PIXELS, chosen) != [blocks[block] for block in chosen]:
            return f"{PIXELS} has changed"
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        return f"{Path(error.filename).name} is missing"
    except (ValueError, KeyError, TypeError, IndexError, OverflowError):
        return f"{SUMS} or {SMALL[0]} is damaged"
    return None


def _read(path: Path) -> Any:
    return from_json(path.name, path.read_bytes())


def _digests(path: Path, blocks: Iterable[int]) -> list[str]:
    found = []
    with path.open("rb") as file:
        for block in blocks:
            file.seek(block * BLOCK)
            found.append(hashlib.sha256(file.read(BLOCK)).hexdigest())
    return found

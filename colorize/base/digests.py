"""Digests of files, and the lists of them that lie beside a model."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

SUMS = "SHA256SUMS"
SUMS_BYTES = 1 << 20  # at most: a line is about 80 bytes


def sha256(path: Path) -> str:
    """Return the hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_sums(path: Path) -> dict[str, str]:
    """Return the digests of a file as ``sha256sum`` writes it, by the names of the files.

    Raises:
        ValueError: if it is something else.
        OSError: if it cannot be read.
    """
    if not path.is_file() or path.stat().st_size > SUMS_BYTES:
        raise ValueError(f"{SUMS} is no list of digests")
    found = {}
    for line in filter(None, path.read_bytes().split(b"\n")):
        digest, _, name = line.decode(errors="replace").rstrip("\r").partition(" ")
        if len(digest) != 64 or set(digest.lower()) - set("0123456789abcdef") or name[:1] not in (" ", "*"):
            raise ValueError(f"{SUMS} is no list of digests")
        found[name[1:]] = digest.lower()
    return found


def check_sums(path: Path, files: Iterable[Path], listed: bool = True) -> None:
    """Compare files with the digests of a list.

    Args:
        path: of the list.
        files: named there by their own names.
        listed: refuse a file that the list does not name.
    Raises:
        ValueError: if the list is none, or a file is not the one that it tells of.
        OSError: if a file cannot be read.
    """
    expected = read_sums(path)
    for file in files:
        if (listed or file.name in expected) and expected.get(file.name) != sha256(file):
            raise ValueError(f"the sha256 of {file.name} is not the one in {path.name}")

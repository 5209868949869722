"""SHA-256 digests of files, and the ``SHA256SUMS`` list in a model's folder."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

SUMS = "SHA256SUMS"
SUMS_BYTES = 1 << 20  # size limit of a list; a line is about 80 bytes


def sha256(path: Path) -> str:
    """Return the SHA-256 hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_sums(path: Path) -> dict[str, str]:
    """Read a list of digests in the format of ``sha256sum``.

    Returns:
        File name to hex digest.
    Raises:
        ValueError: if the file is missing or has another format.
        OSError: if it cannot be read.
    """
    if not path.is_file() or path.stat().st_size > SUMS_BYTES:
        raise ValueError(f"{SUMS} is not a list of digests")
    found = {}
    for line in filter(None, path.read_bytes().split(b"\n")):
        digest, _, name = line.decode(errors="replace").rstrip("\r").partition(" ")
        if len(digest) != 64 or set(digest.lower()) - set("0123456789abcdef") or name[:1] not in (" ", "*"):
            raise ValueError(f"{SUMS} is not a list of digests")
        found[name[1:]] = digest.lower()
    return found


def check_sums(path: Path, files: Iterable[Path], listed: bool = True) -> None:
    """Verify files against a list of digests.

    Args:
        path: path of the list.
        files: the files; the list names them without their folder.
        listed: also raise for a file that the list does not name.
    Raises:
        ValueError: if the list is not valid, or a digest does not match.
        OSError: if a file cannot be read.
    """
    expected = read_sums(path)
    for file in files:
        if (listed or file.name in expected) and expected.get(file.name) != sha256(file):
            raise ValueError(f"the sha256 of {file.name} is not the one in {path.name}")

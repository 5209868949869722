"""Write files and folders whole or not at all: to a temporary name beside the target, then rename."""

import csv
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

COUNT = count()  # so that threads do not share a temporary name


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path to write; when the block ends well, it takes the place of ``path`` on disk.

    The temporary file lies in the same folder, so that the rename is atomic, and keeps the extension. Folders
    are made as needed. If the block raises, the temporary file is removed and ``path`` is as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Shortened, because a name may already be as long as a file system takes
    temporary = path.with_name(f".{path.stem[:40]}.{os.getpid()}.{next(COUNT)}{path.suffix}")
    try:
        with _named(path, temporary):
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())  # else a power cut may leave the new name with old or no contents
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield a new temporary folder to fill; when the block ends well, it appears as ``path``, which must not exist.

    The caller holds a lock on ``path``: what a killed process left of an earlier try is removed.
    """
    temporary = path.with_name(f".{path.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with _named(path, temporary):
            temporary.mkdir(parents=True)
            yield temporary
            temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_json(path: Path, content: Any, indent: int | None = 2) -> None:
    """Write plain data as JSON, whole or not at all; ``indent=None`` writes one line."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=indent) + "\n")


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a table with a header, whole or not at all.

    Args:
        path: of the file.
        columns: names, in their order.
        rows: each from name to value; what a row lacks is empty.
    """
    # Names of files may hold bytes that are no text
    with (
        replacing(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


@contextmanager
def _named(path: Path, temporary: Path) -> Iterator[None]:
    """Have an error name the path that the user knows in place of the temporary one."""
    try:
        yield
    except OSError as error:
        if str(error.filename) == str(temporary):
            error.filename = str(path)
        raise

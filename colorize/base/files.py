"""Write files and folders atomically: to a temporary name in the same folder, then rename."""

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
    """Yield a temporary path to write; when the block ends without an error, it replaces ``path``.

    The temporary file is in the same folder, so that the rename is atomic, and keeps the extension. Missing folders
    are created. If the block raises, the temporary file is removed and ``path`` is unchanged.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Shortened, because the name may already be as long as the file system allows
    temporary = path.with_name(f".{path.stem[:40]}.{os.getpid()}.{next(COUNT)}{path.suffix}")
    try:
        with _named(path, temporary):
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())  # otherwise a power cut could leave the new name with old or no contents
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder to fill; when the block ends without an error, it is renamed to ``path``.

    ``path`` must not exist. The caller must hold a lock on it: what a killed process left behind is removed.
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
    """Write plain data as JSON, atomically; ``indent=None`` writes one line."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=indent) + "\n")


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a table with a header, atomically.

    Args:
        path: path of the file.
        columns: column names, in order.
        rows: column name to value; missing values are left empty.
    """
    # File names may contain bytes that are not valid UTF-8
    with (
        replacing(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


@contextmanager
def _named(path: Path, temporary: Path) -> Iterator[None]:
    """Replace the temporary path by the target's in an `OSError`, since the user knows only that one."""
    try:
        yield
    except OSError as error:
        if str(error.filename) == str(temporary):
            error.filename = str(path)
        raise

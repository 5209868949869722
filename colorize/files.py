"""Write files whole or not at all: to a temporary name beside the target, then rename."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path to write; when the block ends well, it takes the place of ``path`` on disk.

    The temporary file lies in the same folder, so that the rename is atomic, and keeps the extension. Folders
    are made as needed. If the block raises, the temporary file is removed and ``path`` is as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())  # else a power cut may leave the new name with old or no contents
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)

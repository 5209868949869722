"""The folder of what the page is given and makes: who holds which file, how long, and how much there may be."""

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from colorize.base.errors import UserError

PREFIX = "colorize-page-"
LOCK = ".lock"  # held by the process that the folder belongs to, also if that is killed
KEPT = (LOCK, "examples")
EVERY = 15  # seconds between two looks
PARTIAL = 60  # seconds since the last byte: an upload that was broken off
UNHELD = 5 * 60  # seconds: an upload that no page has colored
HELD = 60 * 60  # seconds: of a page that is still open
MAX_BYTES = 2 << 30
MAX_FILES = 2000


class Uploads:
    """A temporary folder; those that killed processes left are removed first.

    Args:
        every: seconds between two looks for what is too old.
    Attributes:
        folder: that holds all until it is closed.
    """

    def __init__(self, every: float = EVERY) -> None:
        base = Path(tempfile.gettempdir())
        sweep_left(base)
        made = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=base))
        self._lock = FileLock(made / LOCK)
        self._lock.acquire()  # before it has the name by which others look for it
        self.folder = made.rename(made.with_name(made.name[1:])).resolve()
        self._held: dict[str, set[Path]] = {}  # the files of each session
        self._guard = threading.RLock()
        self._ended = threading.Event()
        self._sweeper = threading.Thread(target=self._look, args=(every,), daemon=True)
        self._sweeper.start()

    def photograph(self, given: object) -> Path | None:
        """Return the file that a page names; ``None`` if it names none.

        Args:
            given: of Gradio, a dictionary with ``path``.
        Raises:
            UserError: if it is no file of this folder.
        """
        if given is None:
            return None
        path = given.get("path") if isinstance(given, dict) else None
        with suppress(OSError, ValueError):  # names that are too long, or hold a zero
            found = Path(path).resolve() if isinstance(path, str) else self.folder
            if found.is_file() and found.parent.parent == self.folder:
                return found
        raise UserError("there is no such photograph here any more: choose it again")

    def hold(self, session: str, files: Iterable[Path]) -> None:
        """Keep files for a session; examples are kept anyway."""
        with self._guard:
            self._held.setdefault(session, set()).update(f for f in files if f.parent.name not in KEPT)

    def forget(self, session: str, but: Path | None = None) -> None:
        """Remove the files that a session alone holds, but for one that it goes on with."""
        with self._guard:
            mine = self._held.pop(session, set())
            for path in mine.difference([but], *self._held.values()):
                _remove(path)
            if but:
                self.hold(session, [but])

    def new_folder(self) -> Path:
        """Make a folder for what one photograph becomes."""
        return Path(tempfile.mkdtemp(dir=self.folder))

    def full(self, more: int = 0) -> bool:
        """Tell whether there is no room for so many more bytes, not even when pages are open for minutes only."""
        if self._over(more):
            self.sweep(held=UNHELD, unheld=PARTIAL)
        return self._over(more)

    def _over(self, more: int) -> bool:
        sizes = [size for _, size, _ in self._files()]
        return sum(sizes) + more > MAX_BYTES or len(sizes) >= MAX_FILES

    def sweep(self, held: float | None = None, unheld: float | None = None) -> None:
        """Remove what is too old: parts of uploads, uploads that no session holds, and those of pages long open.

        Args:
            held: seconds of the last; without it an hour.
            unheld: seconds of the second; without it five minutes.
        """
        with self._guard:
            kept = set().union(*self._held.values())
            ages = {True: HELD if held is None else held, False: UNHELD if unheld is None else unheld}
            for path, _, age in self._files():
                if age > (PARTIAL if path.parent == self.folder else ages[path in kept]):
                    _remove(path)
            for path in self.folder.iterdir():
                if path.name not in KEPT and path.is_dir() and _age(path) > PARTIAL:
                    with suppress(OSError):  # not empty
                        path.rmdir()
            self._held = {
                name: left for name, files in self._held.items() if (left := {f for f in files if f.exists()})
            }

    def close(self) -> None:
        """Remove the folder."""
        self._ended.set()
        self._sweeper.join()
        self._lock.release()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _files(self) -> list[tuple[Path, int, float]]:
        """List all files with their bytes and their seconds since they were written or named."""
        found, now = [], time.time()
        for folder, folders, names in os.walk(self.folder):
            folders[:] = [name for name in folders if name not in KEPT]
            for path in (Path(folder, name) for name in names if name != LOCK):
                with suppress(OSError):  # gone meanwhile
                    status = path.lstat()
                    found.append((path, status.st_size, now - status.st_ctime))
        return found

    def _look(self, every: float) -> None:
        while not self._ended.wait(every):
            with suppress(OSError):  # a file that came or went meanwhile; the next look finds the rest
                self.sweep()


def sweep_left(base: Path) -> None:
    """Remove the folders of pages whose process is no more, such as one that was killed."""
    for folder in base.glob(f"{PREFIX}*"):
        with suppress(OSError, Timeout):  # it lives, or is another user's
            if folder.is_symlink() or not (folder / LOCK).is_file() or (folder / LOCK).is_symlink():
                continue
            with FileLock(folder / LOCK, timeout=0):
                shutil.rmtree(folder)


def _age(path: Path) -> float:
    return time.time() - path.lstat().st_ctime


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
    with suppress(OSError):  # not empty yet
        path.parent.rmdir()

"""The temporary folder for uploads and results: which session holds which file, for how long, and size limits."""

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
LOCK = ".lock"  # locked by the process that owns the folder; released by the system if that is killed
KEPT = (LOCK, "examples")
EVERY = 15  # seconds between two sweeps
PARTIAL = 60  # seconds since the last byte, after which an incomplete upload is removed
UNHELD = 5 * 60  # seconds after which a file that no session holds is removed
HELD = 60 * 60  # seconds after which a file is removed even if its page is open
MAX_BYTES = 2 << 30
MAX_FILES = 2000


class Uploads:
    """A temporary folder, from which old files are removed regularly; first removes those of killed processes.

    Args:
        every: seconds between two sweeps.
    Attributes:
        folder: path of the folder.
    """

    def __init__(self, every: float = EVERY) -> None:
        base = Path(tempfile.gettempdir())
        sweep_left(base)
        made = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=base))
        self._lock = FileLock(made / LOCK)
        self._lock.acquire()  # before it is renamed to the pattern that `sweep_left` searches for
        self.folder = made.rename(made.with_name(made.name[1:])).resolve()
        self._held: dict[str, set[Path]] = {}  # the files of each session
        self._guard = threading.RLock()
        self._ended = threading.Event()
        self._sweeper = threading.Thread(target=self._sweep_regularly, args=(every,), daemon=True)
        self._sweeper.start()

    def photograph(self, given: object) -> Path | None:
        """Return the uploaded file that a request names; ``None`` if it names none.

        Args:
            given: Gradio's description of a file, a dictionary with ``path``.
        Raises:
            UserError: if it is not a file in this folder.
        """
        if given is None:
            return None
        path = given.get("path") if isinstance(given, dict) else None
        with suppress(OSError, ValueError):  # names that are too long or contain a null byte
            found = Path(path).resolve() if isinstance(path, str) else self.folder
            if found.is_file() and found.parent.parent == self.folder:
                return found
        raise UserError("this photograph is no longer on the server: choose it again")

    def hold(self, session: str, files: Iterable[Path]) -> None:
        """Register files as held by a session; examples are always kept."""
        with self._guard:
            self._held.setdefault(session, set()).update(f for f in files if f.parent.name not in KEPT)

    def forget(self, session: str, but: Path | None = None) -> None:
        """Release a session's files, except for ``but``; remove those that no other session holds."""
        with self._guard:
            mine = self._held.pop(session, set())
            for path in mine.difference([but], *self._held.values()):
                _remove(path)
            if but:
                self.hold(session, [but])

    def new_folder(self) -> Path:
        """Make a folder for the results of one photograph."""
        return Path(tempfile.mkdtemp(dir=self.folder))

    def full(self, more: int = 0) -> bool:
        """Return whether there is no room for ``more`` bytes, even after a sweep with shorter times."""
        if self._over(more):
            self.sweep(held=UNHELD, unheld=PARTIAL)
        return self._over(more)

    def _over(self, more: int) -> bool:
        sizes = [size for _, size, _ in self._files()]
        return sum(sizes) + more > MAX_BYTES or len(sizes) >= MAX_FILES

    def sweep(self, held: float | None = None, unheld: float | None = None) -> None:
        """Remove old files: incomplete uploads, files that no session holds, and those that sessions hold for too long.

        Args:
            held: seconds after which held files are removed; None is an hour.
            unheld: seconds after which files that no session holds are removed; None is five minutes.
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
        """List all files with their size in bytes and the seconds since they were written or renamed."""
        found, now = [], time.time()
        for folder, folders, names in os.walk(self.folder):
            folders[:] = [name for name in folders if name not in KEPT]
            for path in (Path(folder, name) for name in names if name != LOCK):
                with suppress(OSError):  # removed in the meantime
                    status = path.lstat()
                    found.append((path, status.st_size, now - status.st_ctime))
        return found

    def _sweep_regularly(self, every: float) -> None:
        while not self._ended.wait(every):
            with suppress(OSError):  # a file appeared or disappeared; the next sweep continues
                self.sweep()


def sweep_left(base: Path) -> None:
    """Remove the folders of pages whose process has ended, such as killed ones."""
    for folder in base.glob(f"{PREFIX}*"):
        with suppress(OSError, Timeout):  # its process is alive, or it belongs to another user
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

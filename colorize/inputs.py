"""From what a user typed to the photographs to colour: files, globs, and folders whose structure is kept."""

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from colorize.images import EXTENSIONS


class Job(NamedTuple):
    """A photograph, and where its coloured version goes."""

    source: Path
    folder: Path  # relative to the folder of all results


def collect(inputs: Sequence[str | Path], out: Path) -> tuple[list[Job], list[str]]:
    """List the photographs.

    Args:
        inputs: files; folders, of which every image in whatever depth is taken; globs, for shells that do not expand
            them. A folder's structure, and that below a glob's fixed part, is kept.
        out: folder of the results; it is not searched.
    Returns:
        The photographs, each once; and a line for each input that will not do.
    """
    jobs: dict[Path, Job] = {}
    targets: dict[Path, Path] = {}
    complaints: list[str] = []
    for given in inputs:
        for found in _expanded(str(given), out.resolve()):
            if isinstance(found, str):
                complaints.append(found)
                continue
            source = found.source.absolute()
            target = found.folder / found.source.name
            if source in jobs:
                continue
            if target in targets:
                complaints.append(f"{found.source}: {targets[target]} has the same place in {out}; colour them apart")
                continue
            jobs[source], targets[target] = found, found.source
    return list(jobs.values()), complaints


def _expanded(given: str, out: Path) -> Iterator[Job | str]:
    path = Path(given)
    if path.is_dir():
        yield from _within(path, path, out)
    elif path.exists():
        yield Job(path, Path()) if path.is_file() else f"{given}: no ordinary file"
    elif glob.has_magic(given):
        fixed = Path(*_before_magic(path.parts))
        matches = sorted(glob.glob(given, recursive=True))  # noqa: PTH207  Path.glob takes no absolute pattern
        for match in map(Path, matches):
            if match.is_dir():
                yield from _within(match, fixed, out) if "**" not in path.parts else ()
            elif match.suffix.lower() in EXTENSIONS:
                yield Job(match, match.parent.relative_to(fixed))
        if not matches:
            yield f"{given}: no file matches"
    else:
        yield f"{given}: no such file"


def _before_magic(parts: Sequence[str]) -> Iterator[str]:
    for part in parts:
        if glob.has_magic(part):
            return
        yield part


def _within(folder: Path, base: Path, out: Path) -> Iterator[Job | str]:
    """List a folder's images; links that lead out of it are refused."""
    inside = folder.resolve()
    unread: list[str] = []
    walk = os.walk(folder, onerror=lambda error: unread.append(f"{error.filename}: {error.strerror}"))
    empty = True
    for current, folders, names in walk:
        here = Path(current)
        kept = [name for name in sorted(folders) if not name.startswith(".") and (here / name).resolve() != out]
        images = [name for name in names if Path(name).suffix.lower() in EXTENSIONS and not name.startswith(".")]
        for name in (*(name for name in kept if (here / name).is_symlink()), *sorted(images)):
            path = here / name
            if path.is_symlink() and not path.resolve().is_relative_to(inside):
                empty = False
                yield f"{path}: a link that leads out of {folder}; name it itself, or what it leads to"
            elif path.is_file():
                empty = False
                yield Job(path, here.relative_to(base))
            elif not path.is_dir():
                yield f"{path}: no ordinary file"
        folders[:] = kept  # os.walk goes on into these, but into no link
    yield from unread
    if empty and not unread:
        yield f"{folder}: no image in it"

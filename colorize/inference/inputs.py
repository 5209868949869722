"""From what a user typed to the photographs to colour: files, globs, and folders whose structure is kept.

Whatever is found is a photograph, a complaint, or named as skipped.
"""

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from colorize.base.errors import UserError
from colorize.images import FOREIGN, readable
from colorize.inference.manifest import NAME, results_of


class InputFile(NamedTuple):
    """A photograph, and where its coloured version goes."""

    source: Path
    folder: Path  # relative to the folder of all results
    name: str = ""  # of its coloured version; its ending says the format. Without one, the photograph's own


class Found(NamedTuple):
    """What there is of what was typed.

    Attributes:
        jobs: the photographs, each once.
        complaints: a line for each input that will not do.
        skipped: lines that name what is no photograph, or a result of this program.
    """

    jobs: list[InputFile]
    complaints: list[str]
    skipped: list[str]


def collect(inputs: Sequence[str | Path], out: Path) -> Found:
    """List the photographs.

    Args:
        inputs: files; folders, of which every image in whatever depth is taken; globs, for shells that do not expand
            them. A folder's structure, and that below a glob's fixed part, is kept.
        out: folder of the results; it is not searched, nor are results of earlier runs taken that lie in a folder or
            match a glob.
    """
    jobs: dict[Path, InputFile] = {}
    targets: dict[Path, Path] = {}
    complaints: list[str] = []
    skipped: list[str] = []
    for given in inputs:
        search = _Search(str(given), out.resolve())
        for found in search.photographs():
            source = found.source.absolute()
            target = found.folder / found.source.name
            if source in jobs:
                continue
            if target in targets:
                search.complaints.append(
                    f"{found.source}: {targets[target]} has the same place in {out}; colour them apart"
                )
                continue
            jobs[source], targets[target] = found, found.source
        complaints += search.complaints
        skipped += search.skipped()
    return Found(list(jobs.values()), list(dict.fromkeys(complaints)), skipped)


def beside(inputs: Sequence[str | Path]) -> tuple[dict[Path, list[InputFile]], list[str]]:
    """List photographs whose coloured versions go beside them, as ``NAME.colorized.jpg``.

    Args:
        inputs: files.
    Returns:
        the photographs by their folder, and a line for each input that will not do.
    Raises:
        UserError: for a folder or a glob, whose results need a folder of their own.
    """
    jobs: dict[Path, list[InputFile]] = {}
    complaints = []
    for path in map(Path, dict.fromkeys(map(str, inputs))):
        if path.is_file():
            jobs.setdefault(path.parent, []).append(InputFile(path, Path(), f"{path.stem}.colorized{path.suffix}"))
        elif path.is_dir() or (glob.has_magic(str(path)) and not path.exists()):
            raise UserError(f"{path}: name the folder of the results, with --out FOLDER")
        else:
            complaints.append(f"{path}: {'no ordinary file' if path.exists() else 'no such file'}")
    return jobs, complaints


@dataclass
class _Search:
    """One input, and what came of it beside photographs."""

    given: str
    out: Path
    complaints: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)  # skipped, by the kind of file
    results: Counter[Path] = field(default_factory=Counter)  # skipped, by the folder of an earlier run
    manifests: dict[Path, frozenset[str] | None] = field(default_factory=dict)  # None: all of that folder are results

    def skipped(self) -> list[str]:
        """Return a line for files that are no photographs, and one for each folder of results."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.others.items()))
        lines = [
            f"{folder}: skipped {count} that an earlier run coloured" if count else f"{folder}: skipped, as it is --out"
            for folder, count in self.results.items()
        ]
        return ([f"{self.given}: skipped {kinds}"] if kinds else []) + lines

    def photographs(self) -> Iterator[InputFile]:
        path = Path(self.given)
        if path.is_dir():
            yield from self._within(path, path)
        elif path.exists():
            if path.is_file():
                yield InputFile(path, Path())
            else:
                self.complaints.append(f"{self.given}: no ordinary file")
        elif glob.has_magic(self.given):
            yield from self._matching(path)
        else:
            self.complaints.append(f"{self.given}: no such file")

    def _matching(self, pattern: Path) -> Iterator[InputFile]:
        fixed = Path(*_before_magic(pattern.parts))
        matches = sorted(glob.glob(self.given, recursive=True))  # noqa: PTH207  Path.glob takes no absolute pattern
        usable, walked = False, set()
        for match in map(Path, matches):
            if not walked.isdisjoint(match.parents):
                continue  # found in the folder already
            if match.is_dir():
                if pattern.name == "**":
                    continue  # its files match as well
                walked.add(match)
                found = self._within(match, fixed, complain=False)
            else:
                found = self._one(match, fixed)
            for job in found:
                usable = True
                yield job
        if not usable:
            reason = "nothing that it matches is a picture" if matches else "no file matches"
            self.complaints.append(f"{self.given}: {reason}")

    def _within(self, folder: Path, base: Path, complain: bool = True) -> Iterator[InputFile]:
        """List a folder's images; links that lead out of it are refused."""
        inside = folder.resolve()
        before = len(self.complaints)
        walk = os.walk(folder, onerror=lambda error: self.complaints.append(f"{error.filename}: {error.strerror}"))
        empty = True
        for current, folders, names in walk:
            here = Path(current)
            hidden = {name for name in folders if name.startswith(".")}
            self.others.update(["hidden"] * len(hidden))
            results = {name for name in folders if (here / name).resolve() == self.out}
            self.results.update({here / name: 0 for name in results})
            kept = sorted({*folders} - hidden - results)
            for name in (*(name for name in kept if (here / name).is_symlink()), *sorted(names)):
                path = here / name
                if path.is_symlink() and not path.resolve().is_relative_to(inside):
                    self.complaints.append(
                        f"{path}: a link that leads out of {folder}; name it itself, or what it leads to"
                    )
                elif not path.is_dir():
                    for job in self._one(path, base):
                        empty = False
                        yield job
            folders[:] = kept  # os.walk goes on into these, but into no link
        if complain and empty and len(self.complaints) == before:
            self.complaints.append(f"{folder}: no image in it")

    def _one(self, path: Path, base: Path) -> Iterator[InputFile]:
        suffix = path.suffix.lower()
        if path.name == NAME:
            return
        if path.name.startswith("."):
            self.others["hidden"] += 1
        elif suffix in FOREIGN:
            self.complaints.append(f"{path}: {suffix} is no format that Pillow reads; convert it, such as to PNG")
        elif suffix not in readable():
            self.others[suffix or "without a suffix"] += 1
        elif not path.is_file():
            self.complaints.append(f"{path}: no ordinary file")
        elif run := self._run_of(path, base):
            self.results[run] += 1
        else:
            yield InputFile(path, path.parent.relative_to(base))

    def _run_of(self, path: Path, base: Path) -> Path | None:
        """Return the folder below the base in which a file is a result; a base that is one is asked for by its name."""
        for folder in path.parents[: len(path.parent.relative_to(base).parts)]:
            if folder not in self.manifests:
                self.manifests[folder] = None if folder.resolve() == self.out else results_of(folder)
            results = self.manifests[folder]
            if results is None or (results and path.relative_to(folder).as_posix() in results):
                return folder
        return None


def _before_magic(parts: Sequence[str]) -> Iterator[str]:
    for part in parts:
        if glob.has_magic(part):
            return
        yield part

"""Find the photographs to color from command-line inputs: files, globs, and folders whose structure is kept.

Every file that is found is listed as a photograph, reported as an error, or counted as skipped.
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
    """A photograph, and where its colored version is written."""

    source: Path
    folder: Path  # relative to the output folder
    name: str = ""  # file name of the colored version, whose suffix sets the format; empty keeps the photograph's


class Found(NamedTuple):
    """The result of searching the inputs.

    Attributes:
        jobs: the photographs, without duplicates.
        complaints: a line for each input that cannot be colored.
        skipped: lines about skipped files: not photographs, or results of this program.
    """

    jobs: list[InputFile]
    complaints: list[str]
    skipped: list[str]


def collect(inputs: Sequence[str | Path], out: Path) -> Found:
    """List the photographs.

    Args:
        inputs: files; folders, which are searched recursively; globs, for shells that do not expand them. The structure
            of a folder, or below the fixed part of a glob, is kept.
        out: output folder; it is not searched. Results of earlier runs in a searched folder are skipped, too.
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
                    f"{found.source}: {targets[target]} has the same result path in {out}; color them separately"
                )
                continue
            jobs[source], targets[target] = found, found.source
        complaints += search.complaints
        skipped += search.skipped()
    return Found(list(jobs.values()), list(dict.fromkeys(complaints)), skipped)


def beside(inputs: Sequence[str | Path]) -> tuple[dict[Path, list[InputFile]], list[str]]:
    """List photographs whose colored versions are written next to them, as ``NAME.colorized.jpg``.

    Args:
        inputs: files.
    Returns:
        The photographs by their folder, and a line for each input that cannot be colored.
    Raises:
        UserError: for a folder or a glob, whose results need an output folder.
    """
    jobs: dict[Path, list[InputFile]] = {}
    complaints = []
    for path in map(Path, dict.fromkeys(map(str, inputs))):
        if path.is_file():
            jobs.setdefault(path.parent, []).append(InputFile(path, Path(), f"{path.stem}.colorized{path.suffix}"))
        elif path.is_dir() or (glob.has_magic(str(path)) and not path.exists()):
            raise UserError(f"{path}: name a folder for the results, with --out FOLDER")
        else:
            complaints.append(f"{path}: {'not a regular file' if path.exists() else 'no such file'}")
    return jobs, complaints


@dataclass
class _Search:
    """The search of one input, and what it found other than photographs."""

    given: str
    out: Path
    complaints: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)  # skipped files by kind
    results: Counter[Path] = field(default_factory=Counter)  # skipped results by the folder of an earlier run
    manifests: dict[Path, frozenset[str] | None] = field(default_factory=dict)  # None: all files there are results

    def skipped(self) -> list[str]:
        """Return a line for files that are not photographs, and one for each folder of results."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.others.items()))
        lines = [
            f"{folder}: skipped {count} that an earlier run colored" if count else f"{folder}: skipped, as it is --out"
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
                self.complaints.append(f"{self.given}: not a regular file")
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
                continue  # already found in that folder
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
            reason = "no matching file is a picture" if matches else "no file matches"
            self.complaints.append(f"{self.given}: {reason}")

    def _within(self, folder: Path, base: Path, complain: bool = True) -> Iterator[InputFile]:
        """List a folder's images; report links that point outside of it."""
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
                        f"{path}: a link that points outside of {folder}; name the link itself, or its target"
                    )
                elif not path.is_dir():
                    for job in self._one(path, base):
                        empty = False
                        yield job
            folders[:] = kept  # os.walk descends into these, but follows no links
        if complain and empty and len(self.complaints) == before:
            self.complaints.append(f"{folder}: no image in it")

    def _one(self, path: Path, base: Path) -> Iterator[InputFile]:
        suffix = path.suffix.lower()
        if path.name == NAME:
            return
        if path.name.startswith("."):
            self.others["hidden"] += 1
        elif suffix in FOREIGN:
            self.complaints.append(f"{path}: Pillow cannot read {suffix}; convert it, for example to PNG")
        elif suffix not in readable():
            self.others[suffix or "without a suffix"] += 1
        elif not path.is_file():
            self.complaints.append(f"{path}: not a regular file")
        elif run := self._run_of(path, base):
            self.results[run] += 1
        else:
            yield InputFile(path, path.parent.relative_to(base))

    def _run_of(self, path: Path, base: Path) -> Path | None:
        """Return the folder below ``base`` whose results include this file; ``base`` itself was named by the user."""
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

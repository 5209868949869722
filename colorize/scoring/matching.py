"""Match the pictures of a method with the true pictures by name.

The name of a picture is its path relative to its folder, without extensions of picture formats (``a/x.JPG``,
``a/x.png`` and ``a/x.gif.png`` all have the name ``a/x``), in Unicode's composed form (NFC), ignoring case. If the two
folders have no path in common, names are compared without subfolders, provided that they are unique. Hidden files and
files that are not pictures are skipped, as in ``colorize image``.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from colorize.base.errors import UserError
from colorize.images import readable
from colorize.inference.inputs import collect


@dataclass(frozen=True)
class Listing:
    """The pictures of a folder.

    Attributes:
        folder: The folder.
        files: Path by name, sorted by name.
        doubled: Paths that have the same name, by name; none of them is used.
        notes: One line for each kind of skipped file.
    """

    folder: Path
    files: dict[str, Path]
    doubled: dict[str, list[Path]]
    notes: list[str]


@dataclass(frozen=True)
class Matched:
    """The pictures of a method, matched with the truth.

    Attributes:
        files: Picture of the method, by the name of the true picture.
        missing: Names of true pictures without a picture of the method.
        extra: Names of pictures of the method without a true picture.
        doubled: See `Listing`.
        by: How pictures were matched, ``path`` or ``name``.
        notes: See `Listing`.
    """

    files: dict[str, Path]
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    doubled: dict[str, list[Path]] = field(default_factory=dict)
    by: str = "path"
    notes: list[str] = field(default_factory=list)


def name_of(path: PurePosixPath) -> str:
    """Return the name that a relative path is matched by."""
    while path.suffix.lower() in readable() and path.stem:
        path = path.with_suffix("")
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", str(path)).casefold())


def listed(folder: Path, out: Path) -> Listing:
    """List the pictures of a folder.

    Args:
        folder: Folder, searched with its subfolders.
        out: Folder of the scores, which is not searched.
    Raises:
        UserError: If the folder does not exist or contains no pictures.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder of pictures")
    found = collect([folder], out)
    paths: dict[str, list[Path]] = defaultdict(list)
    for job in found.jobs:
        paths[name_of(PurePosixPath(job.folder.as_posix()) / job.source.name)].append(job.source)
    files = {name: each[0] for name, each in sorted(paths.items()) if len(each) == 1}
    doubled = {name: each for name, each in sorted(paths.items()) if len(each) > 1}
    if not files:
        twice = f": {len(doubled)} names occur more than once" if doubled else ""
        raise UserError(f"{folder} contains no usable pictures{twice}")
    return Listing(folder, files, doubled, [*found.complaints, *found.skipped])


def matched(truth: Iterable[str], output: Listing) -> Matched:
    """Match the pictures of a method with the names of the true pictures.

    Raises:
        UserError: If no name matches.
    """
    names, files, by = list(truth), output.files, "path"
    if not files.keys() & set(names) and (alone := _alone(names, output.files)):
        files, by = alone, "name"
    wanted = set(names)
    together = {name: files[name] for name in names if name in files}
    if not together:
        raise UserError(
            f"{output.folder}: no picture has the same name as a true picture; the first names are {next(iter(files))} "
            f"and {names[0]} (extensions and case are ignored)"
        )
    missing = [name for name in names if name not in files]
    return Matched(together, missing, sorted(files.keys() - wanted), output.doubled, by, output.notes)


def _alone(names: list[str], files: Mapping[str, Path]) -> dict[str, Path] | None:
    """Match names without subfolders; return None if a name occurs more than once."""
    bare = {PurePosixPath(name).name: name for name in names}
    own = {PurePosixPath(name).name for name in files}
    if len(bare) < len(names) or len(own) < len(files):
        return None
    return {bare.get(last := PurePosixPath(name).name, last): path for name, path in files.items()}

"""Which picture belongs to which: the truth's folder and a method's, matched by name.

The rule: a picture's name is its path below its folder, without the endings of picture formats (``a/x.JPG``,
``a/x.png`` and ``a/x.gif.png`` are all ``a/x``), in Unicode's composed form (NFC), upper case as lower case. Where not
one path is in both folders, the names alone are compared, without their sub-folders, if no name is there twice. Hidden
files and what is no picture are left out, as by ``colorize image``.
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
        folder: of them.
        files: by name, in the order of names.
        doubled: paths that share a name, by that name; none of them counts.
        notes: a line for each kind of file that is left out.
    """

    folder: Path
    files: dict[str, Path]
    doubled: dict[str, list[Path]]
    notes: list[str]


@dataclass(frozen=True)
class Matched:
    """What belongs together.

    Attributes:
        files: a method's picture, by the truth's name.
        missing: names of the truth of which the method has none.
        extra: names of the method of which there is no truth.
        doubled: see `Listing`.
        by: ``path`` or ``name``.
        notes: see `Listing`.
    """

    files: dict[str, Path]
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    doubled: dict[str, list[Path]] = field(default_factory=dict)
    by: str = "path"
    notes: list[str] = field(default_factory=list)


def name_of(path: PurePosixPath) -> str:
    """Return the name that a path below its folder is matched by."""
    while path.suffix.lower() in readable() and path.stem:
        path = path.with_suffix("")
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", str(path)).casefold())


def listed(folder: Path, out: Path) -> Listing:
    """List the pictures of a folder.

    Args:
        folder: with all below it.
        out: folder of the scores, which is not searched.
    Raises:
        UserError: if it is no folder, or there is no picture in it.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder of pictures")
    found = collect([folder], out)
    paths: dict[str, list[Path]] = defaultdict(list)
    for job in found.jobs:
        paths[name_of(PurePosixPath(job.folder.as_posix()) / job.source.name)].append(job.source)
    files = {name: each[0] for name, each in sorted(paths.items()) if len(each) == 1}
    doubled = {name: each for name, each in sorted(paths.items()) if len(each) > 1}
    if not files:
        twice = f": {len(doubled)} names are there twice" if doubled else ""
        raise UserError(f"{folder}: no picture in it{twice}")
    return Listing(folder, files, doubled, [*found.complaints, *found.skipped])


def matched(truth: Iterable[str], output: Listing) -> Matched:
    """Match a method's pictures with the names of the truth.

    Raises:
        UserError: if none fits.
    """
    names, files, by = list(truth), output.files, "path"
    if not files.keys() & set(names) and (alone := _alone(names, output.files)):
        files, by = alone, "name"
    wanted = set(names)
    together = {name: files[name] for name in names if name in files}
    if not together:
        raise UserError(
            f"{output.folder}: no picture has the name of a true one; the first are {next(iter(files))} "
            f"and {names[0]} (endings and upper case do not count)"
        )
    missing = [name for name in names if name not in files]
    return Matched(together, missing, sorted(files.keys() - wanted), output.doubled, by, output.notes)


def _alone(names: list[str], files: Mapping[str, Path]) -> dict[str, Path] | None:
    """Return a method's pictures by the truth's names that end as theirs; ``None`` where a name is there twice."""
    bare = {PurePosixPath(name).name: name for name in names}
    own = {PurePosixPath(name).name for name in files}
    if len(bare) < len(names) or len(own) < len(files):
        return None
    return {bare.get(last := PurePosixPath(name).name, last): path for name, path in files.items()}

"""The manifest of an output folder: the input, by its digest, and the settings with which each result was made.

It is a file in the folder, in JSON lines: ``{"file": ...}`` is written before a result is renamed into place, and the
complete entry after it. A killed run leaves at most one incomplete last line, which is ignored; a result without a
complete entry is not trusted.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from colorize.base.digests import sha256
from colorize.base.errors import UserError
from colorize.base.files import replacing
from colorize.weights import located

NAME = ".colorize.jsonl"
OF_A_MODEL = "config.json", "model.safetensors"


@dataclass(frozen=True)
class Entry:
    """A result.

    Attributes:
        file: path of the result in the folder, with ``/``.
        size: size of the result in bytes.
        input: sha256 of the photograph's file.
        settings: digest of everything else that determines the result.
        source: path of the photograph.
    """

    file: str
    size: int
    input: str
    settings: str
    source: str


class Manifest:
    """The manifest of a folder; nothing is written before the first result.

    Args:
        folder: output folder; it need not exist.
    Raises:
        UserError: if the manifest's path is not a regular file.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / NAME
        if self.path.is_symlink() or (self.path.exists() and not self.path.is_file()):
            raise UserError(f"{self.path} is not a regular file; remove it, or choose another --out")
        self.entries, lines, whole = _read(self.path)
        if lines > 3 * len(self.entries) + 10 or not whole:  # many outdated lines, or an incomplete one
            with replacing(self.path) as temporary:
                temporary.write_text("".join(map(_line, filter(None, self.entries.values()))))
        self._file: int | None = None

    def __contains__(self, file: str) -> bool:
        """Return whether a file, by its path in the folder, was written by this program."""
        return file in self.entries

    def get(self, file: str) -> Entry | None:
        """Return the entry of a result; None if there is none or the result may be incomplete."""
        return self.entries.get(file)

    def begin(self, file: str) -> None:
        """Record that a result is about to be renamed into place."""
        self.entries[file] = None
        self._append(json.dumps({"file": file}) + "\n")

    def add(self, entry: Entry) -> None:
        """Record a result that is in place."""
        self.entries[entry.file] = entry
        self._append(_line(entry))

    def __enter__(self) -> "Manifest":
        return self

    def __exit__(self, *raised: object) -> None:
        """Close the file; adding another entry opens it again."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _append(self, line: str) -> None:
        if self._file is None:
            self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        os.write(self._file, line.encode())  # one write per line, so that lines of threads and other runs do not mix


def results_of(folder: Path) -> frozenset[str]:
    """Return the relative paths of the results that earlier runs wrote to a folder."""
    return frozenset(_read(folder / NAME)[0])


def digest_of_settings(settings: Mapping[str, Any]) -> str:
    """Return a digest of plain values."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:32]


def digest_of_model(name: str | Path) -> str:
    """Return a digest of the model of a name: a file, a folder, or one in the hub's cache."""
    path = located(name)
    if path.is_file():
        return sha256(path)
    if path.is_dir():
        files = [path / file for file in OF_A_MODEL]
    else:
        from huggingface_hub import try_to_load_from_cache

        files = [Path(str(try_to_load_from_cache(str(name), file))) for file in OF_A_MODEL]
    return "-".join(sha256(file) for file in files)


def _line(entry: Entry) -> str:
    return json.dumps(asdict(entry)) + "\n"


def _read(path: Path) -> tuple[dict[str, Entry | None], int, bool]:
    """Return the entries, the number of lines, and whether all lines are complete."""
    entries: dict[str, Entry | None] = {}
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except OSError:
        return {}, 0, True
    whole = True
    for line in lines:
        with suppress(ValueError, TypeError, KeyError):
            content = json.loads(line)
            entries[content["file"]] = Entry(**content) if len(content) > 1 else None
            continue
        whole = False
    return entries, len(lines), whole and (not lines or lines[-1].endswith(b"\n"))

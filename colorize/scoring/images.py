"""Store the per-image scores of a method as JSON Lines, appended as images are scored.

The first line records the settings. A killed run truncates at most the last line; the next run continues after the last
complete line. If an image is scored again because a file has changed, its last line is valid.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from colorize.base.errors import UserError
from colorize.scoring.scores import CURVES, GAINS, SCORES

FORMAT = 1  # version of the lines; increase it if the definition of a score changes


class ImageTable:
    """Table of a method that lines can be appended to.

    Args:
        path: File; created with the first line if missing.
        method: Name of the method.
        protocol: Settings, see `colorize.scoring.protocols.Protocol.told`.
        networks: Names of the networks that score each picture.
    Attributes:
        renewed: Why lines of an earlier run are discarded; None if they are kept.
    Raises:
        UserError: If the file has scores of another protocol or is not a table.
    """

    def __init__(self, path: Path, method: str, protocol: Mapping[str, Any], networks: Iterable[str] = ()) -> None:
        self.path = path
        self.header = {
            "format": FORMAT, "method": method, "protocol": dict(protocol), "networks": sorted(networks),
            "scores": list(SCORES), "curves": list(CURVES), "gains": list(GAINS),
        }  # fmt: skip
        self.renewed: str | None = None
        self._known: dict[str, tuple[str, str]] = {}
        self._file: int | None = None
        if path.exists():
            self._take_over()
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_line(self.header))

    def _take_over(self) -> None:
        header = read_header(self.path)
        if header.get("protocol") != self.header["protocol"]:
            name = header.get("protocol", {}).get("name")
            raise UserError(
                f"{self.path} has scores of protocol {name}, which cannot be combined with protocol "
                f"{self.header['protocol']['name']}: use another --out"
            )
        if {*self.header["networks"]} <= {*header.get("networks", ())}:
            self.header["networks"] = header["networks"]  # existing lines have more scores than requested
        if header != self.header:
            changed = [key for key in self.header if header.get(key) != self.header[key]]
            self.renewed = f"all images were scored again, because {', '.join(changed)} changed"
            self.path.unlink()
            return
        whole = 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file):
                entry = _entry(line)
                if number and entry is not None:
                    self._known[entry["image"]] = entry["truth"], entry["output"]
                elif entry is None:
                    break
                whole += len(line)
        os.truncate(self.path, whole)  # remove an incomplete line and everything after it

    def holds(self, image: str, truth: str, output: str) -> bool:
        """Return whether an image has a line with these file digests."""
        return self._known.get(image) == (truth, output)

    def append(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Append lines, each with ``image``, ``truth`` and ``output``."""
        if self._file is None:
            self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        text = ""
        for line in lines:
            text += _line(line)
            self._known[line["image"]] = line["truth"], line["output"]
        os.write(self._file, text.encode())

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def read_header(path: Path) -> dict[str, Any]:
    """Return the first line of a table.

    Raises:
        UserError: If the file is not a table.
    """
    with path.open("rb") as file, suppress(ValueError):
        header = json.loads(file.readline())
        if isinstance(header, dict) and "protocol" in header:
            return header
    raise UserError(f"{path} is not a table of scores; remove it, or use another --out")


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a table except the first; if an image has several lines, the last one is valid."""
    with path.open("rb") as file:
        next(file, None)
        yield from filter(None, map(_entry, file))


def _line(content: Mapping[str, Any]) -> str:
    return json.dumps(content, separators=(",", ":")) + "\n"


def _entry(line: bytes) -> dict[str, Any] | None:
    """Return the content of a line; None if it is incomplete."""
    with suppress(ValueError):
        content = json.loads(line)
        if line.endswith(b"\n") and isinstance(content, dict):
            return content
    return None

"""The per-image table of a method: a file of its own, a line of JSON for each image, appended as images are scored.

The first line says by what the others were made. A killed run leaves at most its last line cut off; the next one goes
on behind the whole lines. Of an image that is scored anew, because a file has changed, the later line counts.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from colorize.base.errors import UserError
from colorize.scoring.scores import CURVES, GAINS, SCORES

FORMAT = 1  # of lines; a change of what a score means is another one


class ImageTable:
    """A method's table, open for more lines.

    Args:
        path: of it; made with the first line.
        method: the method's name.
        protocol: see `colorize.scoring.protocols.Protocol.told`.
        networks: names of networks that judge each picture.
    Attributes:
        renewed: why lines of an earlier run do not count; None if they do.
    Raises:
        UserError: if it holds scores by another protocol, or is something else.
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
                f"{self.path} holds scores by protocol {name}, which do not stand beside those by "
                f"{self.header['protocol']['name']}: name another --out"
            )
        if {*self.header["networks"]} <= {*header.get("networks", ())}:
            self.header["networks"] = header["networks"]  # lines know more than is asked for
        if header != self.header:
            changed = [key for key in self.header if header.get(key) != self.header[key]]
            self.renewed = f"scored anew: {', '.join(changed)} changed"
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
        os.truncate(self.path, whole)  # what a kill cut off, and whatever is behind it

    def holds(self, image: str, truth: str, output: str) -> bool:
        """Whether an image has a line, of files with these digests."""
        return self._known.get(image) == (truth, output)

    def append(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Add lines, each with ``image``, ``truth`` and ``output``."""
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
        UserError: if it is none.
    """
    with path.open("rb") as file, suppress(ValueError):
        header = json.loads(file.readline())
        if isinstance(header, dict) and "protocol" in header:
            return header
    raise UserError(f"{path} is no table of scores; remove it, or name another --out")


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a table, without the first; of an image that has several the last counts."""
    with path.open("rb") as file:
        next(file, None)
        yield from filter(None, map(_entry, file))


def _line(content: Mapping[str, Any]) -> str:
    return json.dumps(content, separators=(",", ":")) + "\n"


def _entry(line: bytes) -> dict[str, Any] | None:
    """Return a line's content; ``None`` if it is not whole."""
    with suppress(ValueError):
        content = json.loads(line)
        if line.endswith(b"\n") and isinstance(content, dict):
            return content
    return None

"""Read, write and combine the results of scoring."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from colorize.base.errors import UserError
from colorize.base.files import write_json

FILE = "scores.json"


@dataclass
class Result:
    """Scores of methods on the same images under one protocol.

    Attributes:
        protocol: Settings, see `colorize.scoring.protocols.Protocol.told`.
        truth: Metadata of the true pictures: number of ``images`` of all rows, ``list`` (a digest of their names and
            contents), ``formats``, and excluded pictures by reason.
        rows: Rows by name: ``kind``, ``images``, ``scores``, ``ci95``, ``curve``, and metadata of the pictures.
        paired: Differences between two rows on the same images.
        checks: Results of the checks of the reference rows.
        notes: One line for each caveat.
        about: Commit and versions.
    """

    protocol: dict[str, Any]
    truth: dict[str, Any]
    rows: dict[str, dict[str, Any]]
    paired: list[dict[str, Any]] = field(default_factory=list)
    checks: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        """Write the result to a folder of scores; return the path of the file."""
        write_json(folder / FILE, asdict(self), indent=1)
        return folder / FILE


def read_result(folder: Path) -> Result:
    """Read a result written by `Result.write`.

    Args:
        folder: Folder of scores, or the file.
    Raises:
        UserError: If the file is missing or not a result.
    """
    path = folder / FILE if folder.is_dir() else folder
    try:
        return Result(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        raise UserError(f"{path} is not a result of colorize score") from None


def side_by_side(results: Sequence[Result]) -> dict[str, dict[str, Any]]:
    """Combine the rows of several results in one table.

    Raises:
        UserError: If protocols or images differ, or two rows have the same name.
    """
    first = results[0]
    rows: dict[str, dict[str, Any]] = {}
    for result in results:
        if result.protocol != first.protocol:
            names = f"{first.protocol['name']} and {result.protocol['name']}"
            raise UserError(f"scores of the protocols {names} cannot be compared: score both under one protocol")
        if result.truth["list"] != first.truth["list"]:
            counts = f"{first.truth['images']} and {result.truth['images']}"
            raise UserError(f"scores of different images ({counts}) cannot be compared: score both on the same images")
        for name, row in result.rows.items():
            if rows.setdefault(name, row) is not row and row["kind"] != "reference":
                raise UserError(f"two rows have the name {name}: rename one with NAME=FOLDER")
    return rows

"""A result of scoring: what a folder of scores holds, read and written, and stood beside others."""

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
    """Scores of methods on the same images by one protocol.

    Attributes:
        protocol: see `colorize.scoring.protocols.Protocol.told`.
        truth: of the true pictures: ``images`` that all rows are of, ``list``, a digest of these by name and content,
            ``formats``, and those that were left out, by reason.
        rows: by name: ``kind``, ``images``, ``scores``, ``ci95``, ``curve``, and what was found of its pictures.
        paired: differences between two rows on the same images.
        checks: what the rows that test the judge showed.
        notes: lines that a reader must know.
        about: commit and versions.
    """

    protocol: dict[str, Any]
    truth: dict[str, Any]
    rows: dict[str, dict[str, Any]]
    paired: list[dict[str, Any]] = field(default_factory=list)
    checks: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        """Write it into a folder of scores; return the file."""
        write_json(folder / FILE, asdict(self), indent=1)
        return folder / FILE


def read_result(folder: Path) -> Result:
    """Read what `Result.write` wrote.

    Args:
        folder: of scores, or the file.
    Raises:
        UserError: if there is none.
    """
    path = folder / FILE if folder.is_dir() else folder
    try:
        return Result(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        raise UserError(f"{path} is no result of colorize score") from None


def side_by_side(results: Sequence[Result]) -> dict[str, dict[str, Any]]:
    """Return the rows of several results as one table's.

    Raises:
        UserError: if their protocols or images are not the same, or two rows have one name.
    """
    first = results[0]
    rows: dict[str, dict[str, Any]] = {}
    for result in results:
        if result.protocol != first.protocol:
            names = f"{first.protocol['name']} and {result.protocol['name']}"
            raise UserError(f"scores by the protocols {names} do not stand side by side: score both by one")
        if result.truth["list"] != first.truth["list"]:
            counts = f"{first.truth['images']} and {result.truth['images']}"
            raise UserError(f"scores of different images ({counts}) do not stand side by side: score both on the same")
        for name, row in result.rows.items():
            if rows.setdefault(name, row) is not row and row["kind"] != "reference":
                raise UserError(f"two rows are called {name}: name one of them, as NAME=FOLDER")
    return rows

"""Read folders of `colorize score` as one table with its per-image scores."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from colorize.scoring.images import read_header, read_lines
from colorize.scoring.methods import GREY, MATCHED, TRUTH
from colorize.scoring.result import Result, read_result, side_by_side
from colorize.scoring.run import TABLES
from colorize.scoring.summary import Values, bootstrapped, differences, read_values

RESAMPLES = 1000  # for differences between rows of two folders; the default of `colorize score`


@dataclass
class Scores:
    """Results under one protocol on the same images.

    Attributes:
        result: Combined result; ``paired`` includes differences between rows of two folders.
        folders: Folder of each row.
        values: Per-image scores by row, for rows with a per-image table.
        images: Names of the images that all rows use; empty without tables.
        of: Names of all true images, in order.
        notes: One line for each caveat.
    """

    result: Result
    folders: dict[str, Path]
    values: dict[str, Values]
    images: list[str]
    of: list[str]
    notes: list[str]

    @property
    def methods(self) -> dict[str, dict[str, Any]]:
        """Rows of unchanged methods, by name."""
        return {name: row for name, row in self.result.rows.items() if _is_method(name, row) and not matched(name)}

    @property
    def matched(self) -> dict[str, dict[str, Any]]:
        """Rows of methods at the truth's colorfulness, by name."""
        return {name: row for name, row in self.result.rows.items() if _is_method(name, row) and matched(name)}

    @property
    def references(self) -> dict[str, dict[str, Any]]:
        """Reference rows, by name."""
        return {name: row for name, row in self.result.rows.items() if not _is_method(name, row)}


def matched(name: str) -> bool:
    """Return whether a row was added by `colorize score --matched`."""
    return name.endswith(MATCHED)


def _is_method(name: str, row: Mapping[str, Any]) -> bool:
    return row["kind"] != "reference"


def read_scores(folders: Sequence[Path]) -> Scores:
    """Read and combine results.

    Raises:
        UserError: If a folder has no result, protocols or images differ, or two rows have the same name.
    """
    results = [read_result(folder) for folder in folders]
    rows = side_by_side(results)
    owners: dict[str, Path] = {}
    for folder, result in zip(folders, results, strict=True):
        for name in result.rows:
            owners.setdefault(name, folder)
    first = results[0]
    merged = Result(
        first.protocol,
        first.truth,
        rows,
        [pair for result in results for pair in result.paired],
        _distinct(check for result in results for check in result.checks),
        _distinct(note for result in results for note in result.notes),
        first.about,
    )
    tables = {name: path for folder in folders for name, path in _tables(folder).items() if owners.get(name) == folder}
    of = sorted({line["image"] for line in read_lines(tables[TRUTH])}) if TRUTH in tables else []
    values = {name: read_values(path, of) for name, path in tables.items()} if of else {}
    found = Scores(merged, owners, values, _common(rows, values, of), of, [])
    lacking = [name for name in rows if name not in values]
    if lacking:
        found.notes.append(f"without a per-image table in {TABLES}: {', '.join(lacking)}")
    if len(results) > 1:
        _compare_across(found)
    return found


def _tables(folder: Path) -> dict[str, Path]:
    inside = folder if folder.is_dir() else folder.parent
    return {read_header(path)["method"]: path for path in sorted((inside / TABLES).glob("*.jsonl"))}


def _common(rows: Mapping[str, Mapping[str, Any]], values: Mapping[str, Values], of: Sequence[str]) -> list[str]:
    """Return the images that every method has and was not trained on, as in `colorize score`."""
    kept = set(values[TRUTH].images) if TRUTH in values else set()
    for name, row in rows.items():
        if _is_method(name, row):
            kept &= (
                set(values[name].images) - set(values[name].notes.get("trained on", [])) if name in values else set()
            )
    return [image for image in of if image in kept]


def _compare_across(scores: Scores) -> None:
    """Add differences between rows of different folders, on the same bootstrap resamples."""
    rows = scores.result.rows
    methods = [name for name, row in rows.items() if _is_method(name, row) and name in scores.values]
    if GREY in scores.values:
        methods.append(GREY)
    if len(scores.images) != scores.result.truth["images"]:
        scores.notes.append(
            "the per-image tables have changed since scoring: rows of different folders are not compared"
        )
        return
    about = scores.result.about
    draws = bootstrapped(
        {name: scores.values[name].of(scores.images) for name in methods},
        about.get("resamples", RESAMPLES),
        about.get("seed", 0),
    )
    known = {(pair["first"], pair["second"]) for pair in scores.result.paired}
    missing = [pair for pair in combinations(methods, 2) if pair not in known and pair[::-1] not in known]
    scores.result.paired += differences(missing, rows, draws)


def _distinct(items: Iterable[Any]) -> list[Any]:
    found: list[Any] = []
    for item in items:
        if item not in found:
            found.append(item)
    return found

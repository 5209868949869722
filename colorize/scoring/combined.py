"""Summarize per-image tables: rows on the same images, paired differences, checks and notes."""

import hashlib
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from colorize.base.errors import UserError
from colorize.base.provenance import commit, versions
from colorize.scoring.checks import checks
from colorize.scoring.images import ImageTable, read_lines
from colorize.scoring.methods import GREY, REFERENCES, TRUTH, Method, Model, formats
from colorize.scoring.protocols import Protocol
from colorize.scoring.result import Result
from colorize.scoring.scores import CURVES, GAINS
from colorize.scoring.summary import (
    COLUMNS,
    Values,
    bootstrapped,
    differences,
    distances,
    interval,
    read_values,
    scores_of_means,
)

LOSSY = {"jpg", "jpeg", "jpe", "jfif", "webp", "avif"}

Tables = Mapping[str, tuple[Method, ImageTable]]  # by row


def summed_up(tables: Tables, files: Mapping[str, Path], rules: Protocol, resamples: int, seed: int) -> Result:
    """Summarize per-image tables.

    Args:
        tables: Tables of all rows, including `REFERENCES`.
        files: True pictures, by name.
        rules: Protocol of the scores.
        resamples: Number of bootstrap resamples.
        seed: Seed of the resamples.
    Returns:
        The scores of all rows on the images that every method has.
    Raises:
        UserError: If the methods have no image in common.
    """
    names = list(files)
    truth_path = tables[TRUTH][1].path
    classes = read_values(truth_path, names).classes
    values = {row: read_values(table.path, names, classes) for row, (_, table) in tables.items()}
    common = _common(tables, values, names)
    rows: dict[str, dict[str, Any]] = {}
    subsets = {row: [image for image in common if image in set(each.images)] for row, each in values.items()}
    picked = {row: values[row].of(images) for row, images in subsets.items() if images}
    full = {row: table for row, table in picked.items() if len(table) == len(common)}
    draws = bootstrapped(full, resamples, seed)
    for row, table in picked.items():
        if row not in draws:
            draws |= bootstrapped({row: table}, resamples, seed)
    for row, (method, table) in tables.items():
        if row in picked:
            rows[row] = _row(method, values[row], picked[row], draws[row])
            rows[row]["scores"] |= distances(table.path, truth_path, subsets[row])
            rows[row]["scores"] = {name: value for name, value in rows[row]["scores"].items() if np.isfinite(value)}
    damaged = values[TRUTH].errors
    result = Result(
        protocol=rules.told(),
        truth={
            "images": len(common), "list": _digest(truth_path, common), "formats": formats(files),
            "of": len(names), "damaged": damaged, "grey": values[TRUTH].notes.get("grey truth", []),
            "complete": rules.complete(common) if rules.images else None,
        },
        rows=rows,
        paired=_paired(tables, rows, draws),
        about={"commit": commit(), "versions": versions(), "resamples": resamples, "seed": seed},
    )  # fmt: skip
    same = [image for image in common if all(image in set(subsets[row]) for row in REFERENCES if row in subsets)]
    means = {row: _scores(values[row].of(same)) for row in REFERENCES if same and row in rows}
    result.checks = checks(means, rows[TRUTH]["scores"]["colorfulness_abs"], rules, bool(result.truth["complete"]))
    result.notes = _notes(tables, rules, result)
    return result


def _common(tables: Tables, values: Mapping[str, Values], names: Sequence[str]) -> list[str]:
    """Return the images that every method has and that no model was trained on."""
    kept = set(values[TRUTH].images)
    for row, (method, _) in tables.items():
        if method.kind != "reference":
            kept &= set(values[row].images)
            kept -= set(values[row].notes.get("trained on", []))
    if not kept:
        raise UserError(
            "no image is left that every method has a picture of: score the methods separately, or use other folders"
        )
    return [name for name in names if name in kept]


def _scores(table: np.ndarray) -> dict[str, float]:
    return {name: value.item() for name, value in scores_of_means(table.mean(0, keepdims=True)).items()}


def _row(method: Method, values: Values, table: np.ndarray, draws: Mapping[str, np.ndarray]) -> dict[str, Any]:
    scores = _scores(table)
    ends = {name: interval(draws[name]) for name in scores}
    means = dict(zip(COLUMNS, table.mean(0).tolist(), strict=True))
    curve = {"gain": list(GAINS)} | {name: [means[f"{name}@{at}"] for at in range(len(GAINS))] for name in CURVES}
    curve["truth"] = means["reference"]
    noted = {what: values.notes[what] for what in ("resized", "grey", "trained on") if what in values.notes}
    return {
        "kind": method.kind, "images": len(table), "scores": scores,
        "ci95": {name: both for name, both in ends.items() if both}, "curve": curve,
        "damaged": values.errors if method.kind != "reference" else {},
        **(noted if method.kind != "reference" else {}), **method.about(),
    }  # fmt: skip


def _paired(
    tables: Tables,
    rows: Mapping[str, Mapping[str, Any]],
    draws: Mapping[str, Mapping[str, np.ndarray]],
) -> list[dict[str, Any]]:
    methods = [row for row, (method, _) in tables.items() if method.kind != "reference"]
    return differences([*combinations(methods, 2), *((method, GREY) for method in methods)], rows, draws)


def _digest(truth: Path, images: Sequence[str]) -> str:
    """Return the digest of the names and contents of images."""
    contents = {line["image"]: line["truth"] for line in read_lines(truth)}
    return hashlib.sha256("".join(f"{image} {contents[image]}\n" for image in images).encode()).hexdigest()


def _notes(tables: Tables, rules: Protocol, result: Result) -> list[str]:
    images, of = result.truth["images"], result.truth["of"]
    notes = (
        [f"{images} of {of} images are scored: those that every method has and that no model was trained on"]
        if images < of
        else []
    )
    if result.truth["complete"] is False:
        notes.append(
            f"the images are not the {rules.images} of published figures: the scores are not comparable with those"
        )
    for row, (method, table) in tables.items():
        if table.renewed:
            notes.append(f"{row}: {table.renewed}")
        lossy = LOSSY & method.about().get("formats", {}).keys()
        if lossy:
            notes.append(f"{row}: pictures are {', '.join(sorted(lossy))}, which loses color and changes FID and L1")
        if isinstance(method, Model) and method.trained_on is None:
            notes.append(f"the training images of {row} are unknown: some of them may be among these")
    return notes

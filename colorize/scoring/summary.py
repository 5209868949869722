"""Compute scores of sets of images from per-image tables: means, bootstrap intervals, and paired differences.

Every score is a function of means over images. A bootstrap resample is therefore a row of weights, the same for all
methods.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from colorize.metrics.perceptual import SOURCES, frechet_distance, kernel_distance
from colorize.metrics.resampling import drawn_counts
from colorize.scoring.images import read_lines
from colorize.scoring.networks import CLASS, SETS, unpacked
from colorize.scoring.scores import CURVES, GAINS, SCORES

LEVEL = 0.95
DETECTABLE = 1.959964 + 0.841621  # standard errors: power of 80% in a two-sided test at the 5% level
LPIPS = tuple(name for name in SOURCES if name.startswith("lpips"))
COLUMNS = (
    *SCORES,
    "delta_colorfulness_image",
    *LPIPS,
    "recognizability",
    *(f"{name}@{at}" for name in CURVES for at in range(len(GAINS))),
    "reference",  # the truth's colorfulness_abs on the pixels of the curves
)
AT = {name: position for position, name in enumerate(COLUMNS)}


@dataclass
class Values:
    """Per-image scores of a method.

    Attributes:
        images: Names of the images.
        table: Scores, ``(images, COLUMNS)`` float64; NaN if there is none.
        errors: Reasons why images have no scores, by image.
        notes: Images by note, such as ``grey``.
        classes: Classes predicted by EfficientNet-Lite2, by image.
    """

    images: list[str]
    table: np.ndarray
    errors: dict[str, str]
    notes: dict[str, list[str]]
    classes: dict[str, int]

    def of(self, images: Sequence[str]) -> np.ndarray:
        """Return the rows of these images."""
        at = {image: row for row, image in enumerate(self.images)}
        return self.table[[at[image] for image in images]]


def read_values(path: Path, images: Sequence[str], classes: Mapping[str, int] | None = None) -> Values:
    """Read a per-image table.

    Args:
        path: Path of the table.
        images: Names of the images to read.
        classes: Classes of the true pictures, for ``recognizability``.
    """
    wanted, lines = set(images), {}
    for line in read_lines(path):
        if line["image"] in wanted:
            lines[line["image"]] = _taken(line, classes or {})
    values = Values([], np.empty((0, len(COLUMNS))), {}, {}, {})
    rows = []
    for image in images:
        if image not in lines:
            continue
        row, error, notes, category = lines[image]
        if row is None:
            values.errors[image] = error
            continue
        values.images.append(image)
        rows.append(row)
        for note in notes:
            values.notes.setdefault(note, []).append(image)
        if category is not None:
            values.classes[image] = category
    if rows:
        values.table = np.array(rows)
    return values


def _taken(line: Mapping[str, Any], classes: Mapping[str, int]) -> tuple[np.ndarray | None, str, list[str], int | None]:
    if "error" in line:
        return None, line["error"], [], None
    row = np.full(len(COLUMNS), np.nan)
    scores, category = line["scores"], line.get(CLASS)
    for name in SCORES:
        row[AT[name]] = scores.get(name, np.nan)
    row[AT["delta_colorfulness_image"]] = abs(scores["colorfulness_abs"] - scores["target_colorfulness_abs"])
    for name in LPIPS:
        row[AT[name]] = line.get(name, np.nan)
    if category is not None and line["image"] in classes:
        row[AT["recognizability"]] = category == classes[line["image"]]
    for name in CURVES:
        start = AT[f"{name}@0"]
        row[start : start + len(GAINS)] = line["curves"][name]
    row[AT["reference"]] = line["reference"][1]
    return row, "", line["notes"], category


def scores_of_means(means: np.ndarray) -> dict[str, np.ndarray]:
    """Compute the scores of R sets of images.

    Args:
        means: Means of each set, ``(R, COLUMNS)``.
    Returns:
        Scores ``(R,)`` by name; NaN if there is none. ``NAME_at_cf`` is a score at ``gain_at_cf``, the gain of chroma
        that makes the mean ``colorfulness_abs`` equal to the truth's, on the pixels of the curves.
    """
    column = lambda name: means[:, AT[name]]  # noqa: E731
    scores = {name: column(name) for name in (*SCORES, *LPIPS, "recognizability") if not name.startswith("target_")}
    scores["delta_colorfulness"] = np.abs(column("colorfulness_abs") - column("target_colorfulness_abs"))
    scores["delta_colorfulness_hs"] = np.abs(column("colorfulness") - column("target_colorfulness"))
    scores["delta_colorfulness_image"] = column("delta_colorfulness_image")
    with np.errstate(invalid="ignore", divide="ignore"):
        scores["chroma_spread_ratio"] = column("chroma_spread") / column("target_chroma_spread")
    gain, low, weight = _crossing(_curve(means, "colorfulness_abs"), column("reference"))
    scores["gain_at_cf"] = gain
    for name in CURVES:
        if not name.startswith("colorfulness"):
            start, end = _both_sides(_curve(means, name), low)
            scores[f"{name}_at_cf"] = start + weight * (end - start)
    return scores


def _curve(means: np.ndarray, name: str) -> np.ndarray:
    start = AT[f"{name}@0"]
    return means[:, start : start + len(GAINS)]


def _crossing(colors: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find where curves ``(R, G)`` first reach a target.

    Returns:
        The gain, the index before it, and the fraction of the way to the next index; NaN if it is not reached.
    """
    below = np.cumprod(colors < target[:, None], axis=1).sum(1)
    reached = (below > 0) & (below < len(GAINS))
    low = np.clip(below - 1, 0, len(GAINS) - 2)
    start, end = _both_sides(colors, low)
    weight = np.full(len(target), np.nan)
    np.divide(target - start, end - start, out=weight, where=reached)
    gains = np.array(GAINS)
    return gains[low] + weight * (gains[low + 1] - gains[low]), low, weight


def _both_sides(curve: np.ndarray, low: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows = np.arange(len(curve))
    return curve[rows, low], curve[rows, low + 1]


def matching_gain(path: Path, images: Sequence[str]) -> float | None:
    """Return the rounded gain that makes a method as colorful as the truth; None if there is none."""
    table = read_values(path, images).table
    gain = scores_of_means(table.mean(0, keepdims=True))["gain_at_cf"].item() if len(table) else np.nan
    return round(gain, 3) if np.isfinite(gain) else None


def drawn_means(tables: Sequence[np.ndarray], resamples: int, seed: int) -> Iterator[list[np.ndarray]]:
    """Yield means of tables ``(N, COLUMNS)`` over bootstrap resamples of the images, the same for all tables.

    Each item has means ``(R, COLUMNS)`` for every table. The values of R add up to ``resamples``.
    """
    count = len(tables[0])
    for counts in drawn_counts(count, resamples, seed):
        yield [counts / count @ table for table in tables]


def bootstrapped(tables: Mapping[str, np.ndarray], resamples: int, seed: int) -> dict[str, dict[str, np.ndarray]]:
    """Return the scores of every resample, ``(resamples,)`` by method and name."""
    parts: dict[str, list[dict[str, np.ndarray]]] = {name: [] for name in tables}
    for means in drawn_means(list(tables.values()), resamples, seed):
        for name, mean in zip(tables, means, strict=True):
            parts[name].append(scores_of_means(mean))
    return {
        name: {score: np.concatenate([part[score] for part in each]) for score in each[0]}
        for name, each in parts.items()
    }


def interval(draws: np.ndarray) -> list[float] | None:
    """Return the bounds of the percentile interval; None if a resample has no value."""
    if not np.isfinite(draws).all():
        return None
    return np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()


def paired(one: np.ndarray, two: np.ndarray, difference: float) -> dict[str, Any] | None:
    """Compare two methods by a score.

    Args:
        one: Scores of the first method in each resample; the resamples are the same for both methods.
        two: Scores of the second method.
        difference: Score of the first minus the second on all images.
    Returns:
        ``difference``, its interval ``ci95``, and ``detectable``, the smallest true difference that is detected in 80
        of 100 samples of this size; None if a resample has no value.
    """
    draws = one - two
    ends = interval(draws)
    if ends is None or not np.isfinite(difference):
        return None
    return {"difference": float(difference), "ci95": ends, "detectable": float(DETECTABLE * draws.std())}


def differences(
    pairs: Iterable[tuple[str, str]],
    rows: Mapping[str, Mapping[str, Any]],
    draws: Mapping[str, Mapping[str, np.ndarray]],
) -> list[dict[str, Any]]:
    """Compare pairs of rows by every score that both have.

    Args:
        pairs: Names of the first and second row.
        rows: Rows by name, with ``scores``.
        draws: Scores of resamples of the same images for all rows, see `bootstrapped`.
    Returns:
        For each pair and score ``first``, ``second``, ``score`` and the result of `paired`.
    """
    found = []
    for one, two in pairs:
        for name, value in rows[one]["scores"].items():
            if name in rows[two]["scores"] and name in draws[one]:
                pair = paired(draws[one][name], draws[two][name], value - rows[two]["scores"][name])
                found += [{"first": one, "second": two, "score": name} | pair] if pair else []
    return found


def distances(path: Path, truth: Path, images: Sequence[str]) -> dict[str, float]:
    """Return KID and FID between a method's pictures and the true ones, for each network with stored features."""
    found = {}
    for key, ending in SETS.items():
        outputs, targets = _features(path, key, images), _features(truth, key, images)
        if outputs is not None and targets is not None and len(images) > 1:
            found[f"kid{ending}"], found[f"kid{ending}_std"] = kernel_distance(outputs, targets)
            found[f"fid{ending}"] = frechet_distance(outputs, targets)
    return found


def _features(path: Path, key: str, images: Sequence[str]) -> torch.Tensor | None:
    rows, at = {}, set(images)
    for line in read_lines(path):
        if line["image"] in at and key in line:
            rows[line["image"]] = unpacked(line[key])
    return torch.from_numpy(np.stack([rows[image] for image in images])) if len(rows) == len(at) else None

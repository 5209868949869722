"""Read metrics.csv and states.csv of a run, complete or truncated, and downsample curves for plotting."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import numpy as np

from colorize.vocabulary import STATES

POINTS = 400  # maximum points of a curve: enough for the pixels of a plot, and 50 runs take only a few megabytes


@dataclass(frozen=True)
class Curve:
    """A logged quantity over training: epoch and batch from 0, and finite value, ``(N,)`` each."""

    epochs: np.ndarray
    batches: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class Change:
    """A change of the training state: a row of states.csv."""

    epoch: int
    batch: int
    state: str
    evidence: str
    action: str


def read_curves(path: Path) -> dict[str, Curve]:
    """Return every quantity of a metrics.csv by name; missing, truncated and non-finite values are skipped."""
    found: dict[str, list[tuple[float, float, float]]] = {}
    for row in _rows(path):
        batch = _number(row.pop("step", None))
        epoch = _number(row.pop("epoch", None))
        if batch is None:
            continue
        for name, text in row.items():
            value = _number(text)
            if value is not None:
                found.setdefault(name, []).append((epoch if epoch is not None else 0.0, batch, value))
    return {name: Curve(*np.array(sorted(points, key=lambda point: point[1])).T) for name, points in found.items()}


def read_changes(path: Path) -> list[Change]:
    """Return the rows of a states.csv that have a known training state."""
    changes = []
    for row in _rows(path):
        epoch, batch = _number(row.get("epoch")), _number(row.get("batch"))
        if epoch is not None and batch is not None and row.get("state") in STATES:
            changes.append(
                Change(int(epoch), int(batch), row["state"], row.get("evidence") or "", row.get("action") or "")
            )
    return changes


def thin(x: np.ndarray, y: np.ndarray, most: int = POINTS) -> tuple[np.ndarray, np.ndarray]:
    """Downsample to at most ``most`` points: the minimum and maximum of each segment, so that no spike is lost.

    Args:
        x: Coordinates ``(N,)`` in ascending order.
        y: Values ``(N,)``.
        most: Maximum number of points, even.
    """
    if len(x) <= most:
        return x, y
    kept = set()
    for stretch in np.array_split(np.arange(len(x)), most // 2):
        kept |= {stretch[y[stretch].argmin()], stretch[y[stretch].argmax()]}
    order = sorted(kept)
    return x[order], y[order]


def _rows(path: Path) -> Iterator[dict[str, str]]:
    """Yield the readable rows, each with the cells it has."""
    try:
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            reader = csv.DictReader(line.replace("\0", "") for line in file)
            for row in reader:
                row.pop(None, None)  # cells beyond the last column
                yield row
    except (OSError, csv.Error):
        return


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if isfinite(value) else None

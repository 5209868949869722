"""Measure the colors of the truth and of an output inside the mask of an object."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from colorize.bias.things import SIDE
from colorize.metrics import ciede2000
from colorize.metrics.regions import border_jump

LEAST = 200  # minimum pixels of an object at SIDE x SIDE; below, the band along the outline is as large as the object


class Truth(NamedTuple):
    """Means over a region of a true photograph, in Lab units."""

    photograph: int | str
    file: str
    annotation: int | str
    category: str
    pixels: int
    L: float
    a: float
    b: float
    chroma: float  # equals the error of grey
    jump: float = np.nan  # of chroma across the outline


class Output(NamedTuple):
    """Means over a region of an output in Lab units, and its errors."""

    a: float
    b: float
    chroma: float
    error: float  # mean distance of ab
    delta_e: float  # mean CIEDE2000; both have the truth's lightness
    jump: float = np.nan


class ErrorMaps(NamedTuple):
    """Per-pixel maps of an output, in Lab units; ``delta_e`` is CIEDE2000."""

    ab: np.ndarray  # (2, SIDE, SIDE)
    chroma: np.ndarray  # (SIDE, SIDE)
    error: np.ndarray
    delta_e: np.ndarray


def error_maps(lab: np.ndarray, ab: np.ndarray) -> ErrorMaps:
    """Compare an output with the truth.

    Args:
        lab: Lab of the truth, ``(3, H, W)`` float32.
        ab: Chroma of the output in Lab units, ``(2, H, W)`` float32.
    """
    true, output = torch.from_numpy(lab)[None], torch.from_numpy(np.concatenate([lab[:1], ab]))[None]
    return ErrorMaps(ab, np.hypot(*ab), np.hypot(*(ab - lab[1:])), ciede2000(output, true)[0].numpy())


def measure_truth(mask: np.ndarray, lab: np.ndarray, band: int | None = None) -> tuple[float, ...]:
    """Return ``pixels L a b chroma jump`` of `Truth`; the jump is NaN without a ``band``."""
    L, a, b = lab[:, mask].mean(1, dtype=np.float64).tolist()
    chroma = float(np.hypot(*lab[1:, mask]).mean(dtype=np.float64))
    return int(mask.sum()), L, a, b, chroma, _jump(mask, lab[1:], band)


def measure_output(mask: np.ndarray, maps: ErrorMaps, band: int | None = None) -> Output:
    """Measure an output in a region; see `measure_truth`."""
    a, b = maps.ab[:, mask].mean(1, dtype=np.float64).tolist()
    chroma, error, delta_e = (
        float(plane[mask].mean(dtype=np.float64)) for plane in (maps.chroma, maps.error, maps.delta_e)
    )
    return Output(a, b, chroma, error, delta_e, _jump(mask, maps.ab, band))


def _jump(mask: np.ndarray, ab: np.ndarray, band: int | None) -> float:
    if not band or mask.sum() > SIDE * SIDE - LEAST:  # the outline would be the picture's border
        return np.nan
    top, *_, bottom = np.flatnonzero(mask.any(1))
    left, *_, right = np.flatnonzero(mask.any(0))
    around = band + 1  # crop to the pixels that matter: 10 times as fast
    near = np.s_[max(0, top - around) : bottom + around + 1, max(0, left - around) : right + around + 1]
    planes = np.ascontiguousarray(ab[:, *near])
    return border_jump(torch.from_numpy(planes), torch.from_numpy(mask[near].copy()), band).item()


def columns(rows: Sequence[NamedTuple]) -> dict[str, np.ndarray]:
    """Convert rows of one type to one array per field."""
    return {name: np.array([row[place] for row in rows]) for place, name in enumerate(rows[0]._fields)} if rows else {}

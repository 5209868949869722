"""Colors inside the outline of a thing, of the truth and of an output: one row for each."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from colorize.bias.things import SIDE
from colorize.metrics import ciede2000
from colorize.metrics.regions import border_jump

LEAST = 200  # pixels of SIDE x SIDE: of a smaller thing the outline says little, and its band is as large as itself


class Truth(NamedTuple):
    """Means over a region of a photograph, in Lab units."""

    photograph: int | str
    file: str
    annotation: int | str
    category: str
    pixels: int
    L: float
    a: float
    b: float
    chroma: float  # the error of grey, too
    jump: float = np.nan  # of chroma across the outline


class Output(NamedTuple):
    """The same of an output, and its error."""

    a: float
    b: float
    chroma: float
    error: float  # mean distance of ab
    delta_e: float  # mean CIEDE2000, both with the truth's lightness
    jump: float = np.nan


class ErrorMaps(NamedTuple):
    """Of each pixel of an output."""

    ab: np.ndarray  # (2, SIDE, SIDE)
    chroma: np.ndarray  # (SIDE, SIDE)
    error: np.ndarray
    delta_e: np.ndarray


def error_maps(lab: np.ndarray, ab: np.ndarray) -> ErrorMaps:
    """Compare an output with the truth.

    Args:
        lab: ``(3, H, W)`` float32, of the truth.
        ab: ``(2, H, W)`` float32, of the output.
    """
    true, output = torch.from_numpy(lab)[None], torch.from_numpy(np.concatenate([lab[:1], ab]))[None]
    return ErrorMaps(ab, np.hypot(*ab), np.hypot(*(ab - lab[1:])), ciede2000(output, true)[0].numpy())


def measure_truth(mask: np.ndarray, lab: np.ndarray, band: int | None = None) -> tuple[float, ...]:
    """Return ``pixels L a b chroma jump`` of `Truth`; the jump is looked for only with a ``band``."""
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
    if not band or mask.sum() > SIDE * SIDE - LEAST:  # of what fills the picture the outline is its edge
        return np.nan
    top, *_, bottom = np.flatnonzero(mask.any(1))
    left, *_, right = np.flatnonzero(mask.any(0))
    around = band + 1  # what lies farther away does not count: 10 times as fast
    near = np.s_[max(0, top - around) : bottom + around + 1, max(0, left - around) : right + around + 1]
    planes = np.ascontiguousarray(ab[:, *near])
    return border_jump(torch.from_numpy(planes), torch.from_numpy(mask[near].copy()), band).item()


def columns(rows: Sequence[NamedTuple]) -> dict[str, np.ndarray]:
    """Return rows of one kind as an array for each field."""
    return {name: np.array([row[place] for row in rows]) for place, name in enumerate(rows[0]._fields)} if rows else {}

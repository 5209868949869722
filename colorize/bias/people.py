"""Measure a method on skin, by the lightness of the true skin.

The rule for skin and its limitations are described in `colorize.bias.skin`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from colorize.bias.intervals import LEAST_PHOTOGRAPHS, Estimate, estimate
from colorize.bias.measures import MEASURES, Columns, measured, sums_of
from colorize.bias.regions import columns
from colorize.bias.skin import ITA_BANDS, LIGHTNESS_BANDS, Band, in_band, typology_angle
from colorize.bias.survey import ModelSurvey

SKIN = ("error", "relative_error", "delta_e", "chroma_ratio", "chroma_shift", "hue_shift", "a_shift", "b_shift")
LEAST_PEOPLE = 10  # minimum per band; with fewer, a single person dominates
EVERYONE = "everyone"
# name -> scale and edge; the measures above the edge are subtracted from those below
CONTRASTS = {"L*": ("lightness", 50.0), "ITA": ("ita", 28.0)}


def describe_people(model: ModelSurvey, method: str) -> dict[str, Any]:
    """Measure a method on skin.

    Returns:
        ``bands``, one row for everyone and for each band of lightness and of ITA. A row has measures if there are
        enough people, otherwise the sentence ``too_few``. ``contrasts`` has the differences between darker and lighter
        skin.
    """
    truth, output = columns(model.people), columns(model.people_outputs[method])
    if not truth:
        return {"bands": [], "contrasts": []}
    scales = {"lightness": truth["L"], "ita": typology_angle(truth["L"], truth["b"])}
    bands = [_band(EVERYONE, "", np.ones(len(truth["L"]), bool), truth, output)]
    for scale, choices in (("lightness", LIGHTNESS_BANDS), ("ita", ITA_BANDS)):
        bands += [_band(band.name, scale, in_band(scales[scale], band), truth, output) for band in choices]
    contrasts = [_contrast(name, scales[scale], edge, truth, output) for name, (scale, edge) in CONTRASTS.items()]
    return {"bands": bands, "contrasts": contrasts}


def _band(name: str, scale: str, chosen: np.ndarray, truth: Columns, output: Columns) -> dict[str, Any]:
    row = {"band": name, "scale": scale} | _counts(chosen, truth)
    if few := _too_few(name, row):
        return row | {"too_few": few}
    return row | measured(_part(truth, chosen), _part(output, chosen), SKIN)


def _contrast(name: str, values: np.ndarray, edge: float, truth: Columns, output: Columns) -> dict[str, Any]:
    """Subtract the measures of people above an edge from those of people below it."""
    darker, lighter = in_band(values, Band("", -np.inf, edge)), in_band(values, Band("", edge, np.inf))
    sides = {f"{name} below {edge:g}": darker, f"{name} from {edge:g}": lighter}
    counts = [_counts(chosen, truth) for chosen in sides.values()]
    row: dict[str, Any] = {"contrast": " less ".join(sides), "darker": counts[0], "lighter": counts[1]}
    for side, count in zip(sides, counts, strict=True):
        if few := _too_few(side, count):
            return row | {"too_few": few}
    sums = sums_of(truth, output)
    both = np.concatenate([sums * darker[:, None], sums * lighter[:, None]], 1)
    return row | {measure: difference(both, truth["photograph"].tolist(), measure) for measure in SKIN}


def difference(sums: np.ndarray, photographs: Sequence[Any], measure: str) -> Estimate:
    """Subtract a measure of the second group from that of the first; their terms are concatenated in ``(n, 2 * k)``."""
    half, period = sums.shape[1] // 2, 360 if measure == "hue_shift" else None

    def statistic(total: np.ndarray) -> np.ndarray:
        change = MEASURES[measure](total[..., :half]) - MEASURES[measure](total[..., half:])
        return (change + 180) % 360 - 180 if period else change

    return estimate(sums, photographs, statistic, period)


def _counts(chosen: np.ndarray, truth: Columns) -> dict[str, int]:
    return {"people": int(chosen.sum()), "photographs": len(set(truth["photograph"][chosen].tolist()))}


def _too_few(name: str, counts: Mapping[str, Any]) -> str | None:
    people, photographs = counts["people"], counts["photographs"]
    if people >= LEAST_PEOPLE and photographs >= LEAST_PHOTOGRAPHS:
        return None
    return (
        f"{name}: {_several(people, 'person', 'people')} in {_several(photographs, 'photograph', 'photographs')} "
        f"{'is' if people == 1 else 'are'} too few; at least {LEAST_PEOPLE} in {LEAST_PHOTOGRAPHS} photographs are "
        "needed"
    )


def _several(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _part(table: Columns, chosen: np.ndarray) -> dict[str, np.ndarray]:
    return {name: values[chosen] for name, values in table.items()}

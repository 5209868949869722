"""Define color measures of a method as functions of sums over objects, so that each has a bootstrap interval."""

from collections.abc import Mapping

import numpy as np

from colorize.bias.intervals import Estimate, Statistic, estimate

Columns = Mapping[str, np.ndarray]

COLUMNS = (
    *("count", "error", "delta_e", "chroma", "true_chroma", "jump", "true_jump"),
    *("a", "b", "true_a", "true_b", "square", "true_square", "product", "cross"),
)
PLACE = {name: place for place, name in enumerate(COLUMNS)}


def _over(above: str, below: str) -> Statistic:
    return lambda sums: sums[..., PLACE[above]] / sums[..., PLACE[below]]


def _mean_change(axis: str) -> Statistic:
    return lambda sums: (sums[..., PLACE[axis]] - sums[..., PLACE[f"true_{axis}"]]) / sums[..., PLACE["count"]]


def _diversity(sums: np.ndarray) -> np.ndarray:
    return np.sqrt(_variance(sums, "") / _variance(sums, "true_"))


def _followed(sums: np.ndarray) -> np.ndarray:
    count, a, b, true_a, true_b, product = (
        sums[..., PLACE[name]] for name in ("count", "a", "b", "true_a", "true_b", "product")
    )
    return (product - (a * true_a + b * true_b) / count) / (_variance(sums, "true_") * count)


def _variance(sums: np.ndarray, of: str) -> np.ndarray:
    """Return the variance of mean ab over objects; 0 if it consists only of rounding errors."""
    count, a, b, square = (sums[..., PLACE[name]] for name in ("count", f"{of}a", f"{of}b", f"{of}square"))
    variance = square / count - np.square(a / count) - np.square(b / count)
    return np.where(variance > 1e-9 * (square / count), variance, 0)


def _hue_shift(sums: np.ndarray) -> np.ndarray:
    return np.degrees(np.arctan2(sums[..., PLACE["cross"]], sums[..., PLACE["product"]]))


MEASURES: dict[str, Statistic] = {
    "error": _over("error", "count"),
    "grey_error": _over("true_chroma", "count"),
    "relative_error": _over("error", "true_chroma"),
    "delta_e": _over("delta_e", "count"),
    "chroma_ratio": _over("chroma", "true_chroma"),
    "chroma_shift": _mean_change("chroma"),
    "diversity_ratio": _diversity,
    "followed": _followed,
    "hue_shift": _hue_shift,
    "a_shift": _mean_change("a"),
    "b_shift": _mean_change("b"),
    "jump_ratio": _over("jump", "true_jump"),
}
ABOUT = {
    "error": "mean distance of ab inside the mask, in Lab units; averaged over objects",
    "grey_error": "error of grey, which equals the mean chroma of the truth",
    "relative_error": "error divided by that of grey",
    "delta_e": "mean CIEDE2000 inside the mask",
    "chroma_ratio": "mean chroma divided by the truth's",
    "chroma_shift": "mean change of chroma, in Lab units",
    "diversity_ratio": "spread of the objects' mean ab divided by the truth's: 0 if all objects have the same color",
    "followed": "regression slope of the objects' mean ab on the truth's: 0 if it is independent of the true color",
    "hue_shift": "mean rotation of the objects' hue in degrees, weighted by both chromas; red to yellow is positive",
    "a_shift": "mean change of a, in Lab units; positive is toward red, negative toward green",
    "b_shift": "mean change of b, in Lab units; positive is toward yellow, negative toward blue",
    "jump_ratio": "jump of chroma across the outline divided by the truth's: 0 if colors bleed completely",
}
SPREAD = ("diversity_ratio", "followed")  # these need objects of several colors


def sums_of(truth: Columns, output: Columns) -> np.ndarray:
    """Return the terms of each object that `MEASURES` sum.

    Args:
        truth: Columns of `colorize.bias.regions.Truth`.
        output: Columns of `colorize.bias.regions.Output`.
    Returns:
        Array of shape ``(n, len(COLUMNS))``.
    """
    a, b, true_a, true_b = output["a"], output["b"], truth["a"], truth["b"]
    jumps = np.isfinite(truth["jump"]) & np.isfinite(output["jump"])
    parts = {
        "count": np.ones(len(a)),
        "error": output["error"],
        "delta_e": output["delta_e"],
        "chroma": output["chroma"],
        "true_chroma": truth["chroma"],
        "jump": np.where(jumps, output["jump"], 0),
        "true_jump": np.where(jumps, truth["jump"], 0),
        "a": a,
        "b": b,
        "true_a": true_a,
        "true_b": true_b,
        "square": a**2 + b**2,
        "true_square": true_a**2 + true_b**2,
        "product": a * true_a + b * true_b,
        "cross": true_a * b - true_b * a,
    }
    return np.stack([parts[name] for name in COLUMNS], 1)


def centered(columns: Columns, categories: np.ndarray) -> dict[str, np.ndarray]:
    """Subtract the mean color of each category, so that the spread is the spread within categories."""
    found = dict(columns)
    for axis in ("a", "b"):
        found[axis] = columns[axis].copy()
        for category in np.unique(categories):
            found[axis][categories == category] -= columns[axis][categories == category].mean()
    return found


def measured(truth: Columns, output: Columns, names: tuple[str, ...] = tuple(MEASURES)) -> dict[str, Estimate]:
    """Return measures of a group of objects with their intervals."""
    sums = sums_of(truth, output)
    return {
        name: estimate(sums, truth["photograph"].tolist(), MEASURES[name], 360 if name == "hue_shift" else None)
        for name in names
    }

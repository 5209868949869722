"""Measure each category: its colors in the data, and the errors of a method against its frequency in training."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from colorize.bias.explained import errors, explained, means
from colorize.bias.intervals import LEAST_PHOTOGRAPHS, UNKNOWN, Estimate, estimate, rank_correlation, ratio
from colorize.bias.measures import SPREAD, centered, measured
from colorize.bias.palettes import palette
from colorize.bias.regions import columns
from colorize.bias.survey import DataSurvey, ModelSurvey
from colorize.bias.things import SIDE

ALL = "all"
LEAST_THINGS = 5  # minimum number of objects for a category to be a point of the curve
CURVES = ("error", "relative_error", "delta_e", "chroma_ratio", "diversity_ratio", "jump_ratio")


def describe_data(data: DataSurvey, frequencies: Counter[str]) -> list[dict[str, Any]]:
    """Describe the colors of each category in the data, most frequent first."""
    table = columns(data.rows)
    described = []
    for name, images in frequencies.most_common():
        own = {key: values[table["category"] == name] for key, values in table.items()} if table else {}
        row: dict[str, Any] = {
            "category": name,
            "photographs": images,
            "things": data.things[name],
            "share_of_pixels": data.pixels[name] / (len(data.whole) * SIDE * SIDE),
            "lightness_explains": _explained_within(data.within[name]),
        }
        if len(own.get("a", ())):
            a, b = own["a"], own["b"]
            row |= {
                "measured_things": len(a),
                "L": own["L"].mean(),
                "a": a.mean(),
                "b": b.mean(),
                "chroma": own["chroma"].mean(),
                "spread": float(np.sqrt(a.var() + b.var())),
                "palette": palette(np.concatenate(data.samples[name]), {}),
            }
        described.append(row)
    return described


def _explained_within(sums: Mapping[Any, np.ndarray]) -> Estimate:
    if len(sums) < LEAST_PHOTOGRAPHS:
        return UNKNOWN
    stacked = np.stack(list(sums.values()))
    return _explained(errors(stacked), errors(stacked.sum(1, keepdims=True)))


def _explained(with_it: np.ndarray, without: np.ndarray) -> Estimate:
    return estimate(np.stack([with_it, without], 1), range(len(without)), explained)


def mean_color(data: DataSurvey) -> dict[str, Estimate]:
    """Return the mean a and b of all pixels, which is the best constant prediction."""
    sums = np.stack([each.sum(0) for each in data.whole.values()]).astype(np.float64)
    return {axis: estimate(sums[:, [place, 0]], range(len(sums)), ratio) for place, axis in enumerate("ab", start=1)}


def explained_by(data: DataSurvey) -> dict[str, Estimate]:
    """Return the shares of the variance of chroma explained by lightness, by the category and by both.

    Returns:
        ``whole``, explained by lightness over all pixels; ``lightness``, ``category`` and ``both`` over pixels inside
        masks.
    """
    whole = np.stack(list(data.whole.values()))
    shares = {"whole": _explained(errors(whole), errors(whole.sum(1, keepdims=True)))}
    names = [name for name, sums in data.within.items() if sums]
    ids = {each: place for place, each in enumerate({each: None for name in names for each in data.within[name]})}
    by_lightness = np.zeros((len(ids), *whole.shape[1:]))
    by_category = np.zeros((len(ids), len(names), whole.shape[-1]))
    for place, name in enumerate(names):
        for each, sums in data.within[name].items():
            by_lightness[ids[each]] += sums
            by_category[ids[each], place] += sums.sum(0)
    pooled = by_lightness.sum(1)
    without = errors(pooled[:, None])
    elsewhere = means(pooled.sum(0) - pooled, np.zeros(2))
    both = np.zeros(len(ids))
    for name in names:
        own, places = np.stack(list(data.within[name].values())), [ids[each] for each in data.within[name]]
        of_category = own.sum(1)
        both[places] += errors(own, means(of_category.sum(0) - of_category, elsewhere[places]))
    shares["lightness"] = _explained(errors(by_lightness), without)
    shares["category"] = _explained(errors(by_category), without)
    shares["both"] = _explained(both, without)
    return shares


def describe_model(model: ModelSurvey, method: str, frequencies: Counter[str]) -> list[dict[str, Any]]:
    """Measure a method on all objects together and on each category, most frequent first.

    In the row of all objects, ``diversity_ratio`` and ``followed`` are computed within categories.
    """
    truth, output = columns(model.things), columns(model.thing_outputs[method])
    if not truth:
        return []
    categories = truth["category"]
    overall = measured(truth, output)
    overall |= measured(centered(truth, categories), centered(output, categories), SPREAD)
    rows = [{"category": ALL, "frequency": None} | _counts(truth) | overall]
    for name in sorted(set(categories.tolist()), key=lambda name: (-frequencies[name], name)):
        own = categories == name
        part = {key: values[own] for key, values in truth.items()}
        found = measured(part, {key: values[own] for key, values in output.items()})
        rows.append({"category": name, "frequency": frequencies[name]} | _counts(part) | found)
    return rows


def palettes(model: ModelSurvey) -> dict[str, list[dict[str, Any]]]:
    """Return the main colors of each category and the output of each method on the same pixels, see `palette`."""
    found = {}
    for name, samples in model.samples.items():
        outputs = {method: np.concatenate([each[method] for _, each in samples]) for method in samples[0][1]}
        found[name] = palette(np.concatenate([lab for lab, _ in samples]), outputs)
    return found


def _counts(truth: Mapping[str, np.ndarray]) -> dict[str, int]:
    return {"things": len(truth["a"]), "photographs": len(set(truth["photograph"].tolist()))}


def rare_objects(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Correlate the measures of a method per category with the frequency of the category in the training photographs.

    Args:
        rows: Result of `describe_model`.
    Returns:
        ``points``, a dictionary for each category with at least ``LEAST_THINGS`` objects, and ``correlations``,
        Spearman's rank correlation of each of `CURVES` with its confidence interval.
    """
    counted = [row for row in rows if row["category"] != ALL and row["things"] >= LEAST_THINGS]
    points = [
        {"category": row["category"], "frequency": row["frequency"]} | {name: row[name].value for name in CURVES}
        for row in counted
    ]
    correlations = {}
    for name in CURVES:
        known = [point for point in points if np.isfinite(point[name])]
        correlations[name] = rank_correlation(*([point[key] for point in known] for key in ("frequency", name)))
    return {"points": points, "correlations": correlations}

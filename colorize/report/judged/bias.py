"""Compute the sections of bias: findings, color swatches of categories, the rare-object curve, skin."""

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import Any

from colorize.bias.categories import ALL, CURVES
from colorize.bias.histograms import EDGES
from colorize.bias.intervals import Estimate
from colorize.bias.measures import ABOUT
from colorize.bias.people import SKIN
from colorize.bias.tables import SHOWN, latex, markdown
from colorize.bias.words import DIGITS, percent, shown
from colorize.report import plots
from colorize.report.judged.scores import plot_text

OVERALL = ("relative_error", "delta_e", "chroma_ratio", "diversity_ratio", "followed", "hue_shift", "a_shift",
           "b_shift", "jump_ratio")  # fmt: skip
NAMES = {
    "error": "error", "grey_error": "error of grey", "relative_error": "error / grey's", "delta_e": "CIEDE2000",
    "chroma_ratio": "chroma ratio", "chroma_shift": "chroma shift", "diversity_ratio": "diversity ratio",
    "followed": "followed", "hue_shift": "hue shift (°)", "a_shift": "a shift", "b_shift": "b shift",
    "jump_ratio": "jump ratio",
}  # fmt: skip
FIRST = 20  # categories shown initially
LABELED = 30  # maximum points of the curve that are labeled
HEX = re.compile(r"#[0-9a-f]{6}")
HISTOGRAMS = {"chroma": "chroma, Lab units", "hue": "hue, degrees, weighted by chroma", "lightness": "L*"}


def bias_sections(summary: Mapping[str, Any], at: str) -> dict[str, Any]:
    """Return the template values of one data set.

    Args:
        summary: Result of `colorize.bias.tables.read_summary`.
        at: Prefix of ids, unique in the page.
    """
    models = summary.get("models", {})
    return {
        "at": at,
        "index": summary["index"],
        "photographs": summary["photographs"],
        "colored": summary.get("colored", 0),
        "findings": summary["findings"],
        "notes": _notes(summary),
        "explained": _explained(summary["data"]),
        "swatches": _swatches(summary, models),
        "first": FIRST,
        "models": [(name, plots.color(place), plots.dash(place)) for place, name in enumerate(models)],
        "overall_heads": [NAMES[name] for name in OVERALL],
        "overall": [(name, _cells(model["categories"][0], OVERALL)) for name, model in models.items()],
        "blobs": [(name, *_split(shown(model["blobs"]))) for name, model in models.items()],
        "category_heads": [NAMES[name] for name in SHOWN],
        "categories": [(name, _categories(model["categories"])) for name, model in models.items()],
        "curves": [(NAMES[name], _curve(models, name)) for name in CURVES] if models else [],
        "correlations": _correlations(models),
        "frequencies": summary.get("frequencies", ""),
        "histograms": [(title, _histogram(summary, name)) for name, title in HISTOGRAMS.items()],
        "histogram_key": _histogram_key(summary),
        "skin_heads": [NAMES[name] for name in SKIN],
        "people": [(name, _people(model["people"])) for name, model in models.items() if model["people"]["bands"]],
        "about": [(NAMES[name], text) for name, text in ABOUT.items()],
        "markdown": markdown(summary, summary["findings"]),
        "latex": latex(summary) if models else "",
    }


def categories_of(folder: Path) -> dict[str, set[str]]:
    """Return the categories in each photograph, by file name, from ``things.csv`` of a result."""
    found: dict[str, set[str]] = defaultdict(set)
    path = folder / "things.csv"
    if path.is_file():
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            for row in csv.DictReader(file):
                if row.get("file") and row.get("category"):
                    found[row["file"]].add(row["category"])
    return found


def _notes(summary: Mapping[str, Any]) -> list[str]:
    left_out = summary.get("left_out", [])
    first = f"{left_out[0]['file']} ({left_out[0]['reason']})" if left_out else ""
    return [
        *summary.get("notes", []),
        *([f"excluded: {len(left_out)} photographs, the first is {first}"] * bool(first)),
    ]


def _split(text: str) -> tuple[str, str]:
    """Split ``0.62 [0.55, 0.70]`` into the value and its interval."""
    value, _, ends = text.partition(" [")
    return value.replace("-", "−"), f"[{ends}".replace("-", "−") if ends else ""


def _cells(row: Mapping[str, Any], names: Iterable[str]) -> list[tuple[str, str]]:
    return [_split(shown(row[name], DIGITS.get(name, 2), signed=name.endswith("shift"))) for name in names]


def _explained(data: Mapping[str, Any]) -> list[tuple[str, tuple[str, str]]]:
    told = {
        "whole": "lightness, all pixels", "lightness": "lightness, inside masks",
        "category": "category, inside masks", "both": "both, inside masks",
    }  # fmt: skip
    return [(text, _split(percent(data["explained"][name]))) for name, text in told.items()]


def _swatches(summary: Mapping[str, Any], models: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each category: statistics in the data, and main colors in the truth and in each output."""
    palettes = summary.get("palettes", {})
    rows = []
    for row in summary["data"]["categories"]:
        colors = palettes.get(row["category"]) or row.get("palette") or []
        bars = [_bar(colors, name) for name in ("true", *models)]
        rows.append(
            {
                "category": row["category"],
                "photographs": row["photographs"],
                "things": row["things"],
                "pixels": f"{100 * row['share_of_pixels']:.1f}",
                "mean": [f"{row[key]:.0f}".replace("-", "−") if key in row else "–" for key in ("a", "b")],
                "spread": f"{row['spread']:.0f}" if "spread" in row else "–",
                "explains": percent(row["lightness_explains"]).partition(" [")[0].replace("-", "−"),
                "bars": bars,
            }
        )
    return rows


def _bar(colors: Sequence[Mapping[str, Any]], name: str) -> list[tuple[float, str]]:
    """Return the share in percent and the color of each part of a swatch."""
    return [(100 * float(color["share"]), color[name]) for color in colors if HEX.fullmatch(str(color.get(name, "")))]


def _categories(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "category": row["category"],
            "seen": "" if row["frequency"] is None else str(row["frequency"]),
            "things": row["things"],
            "photographs": row["photographs"],
            "cells": _cells(row, SHOWN),
            "all": row["category"] == ALL and row["frequency"] is None,
        }
        for row in rows
    ]


def _curve(models: Mapping[str, Any], measure: str) -> str:
    """Plot a measure of each category against the number of training photographs that contain it."""
    figure = plots.new_figure(height=420)
    labeled = len(models) == 1
    for place, (name, model) in enumerate(models.items()):
        points = [
            point
            for point in model["rare_objects"]["points"]
            if point[measure] is not None and isfinite(point[measure]) and point["frequency"]
        ]
        text = [plot_text(point["category"]) for point in points]
        figure.add_scatter(
            x=[point["frequency"] for point in points],
            y=[point[measure] for point in points],
            mode="markers+text" if labeled and len(points) <= LABELED else "markers",
            marker={"size": 9, "color": plots.color(place), "opacity": 0.8},
            text=text,
            textposition="top center",
            textfont={"size": 11},
            cliponaxis=False,
            hovertemplate=f"%{{text}}, {plot_text(name)}<br>frequency %{{x}}: %{{y:.3g}}<extra></extra>",
        )
    ticks = [mantissa * 10**power for power in range(7) for mantissa in (1, 2, 5)]
    figure.update_xaxes(title="training photographs with the category", type="log", tickvals=ticks, ticktext=ticks)
    figure.update_yaxes(title=NAMES[measure], nticks=7)
    return plots.to_json(figure)


def _correlations(models: Mapping[str, Any]) -> list[tuple[str, int, list[tuple[str, str]]]]:
    """Return the number of points and the Spearman correlations with intervals of each method."""
    rows = []
    for name, model in models.items():
        found: Mapping[str, Estimate] = model["rare_objects"]["correlations"]
        cells = [_split(shown(found[measure], 2, signed=True)) for measure in CURVES]
        rows.append((name, len(model["rare_objects"]["points"]), cells))
    return rows


def _histogram_key(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    names = ["truth", *(name for name in summary.get("histograms", {}) if name != "truth")]
    return [(name, *_line(place)) for place, name in enumerate(names)]


def _line(place: int) -> tuple[str, str]:
    """Return color and dash style: gray for the truth, then those of methods."""
    return ("#7d838c", "solid") if place == 0 else (plots.color(place - 1), plots.dash(place - 1))


def _histogram(summary: Mapping[str, Any], name: str) -> str:
    figure = plots.new_figure(height=300)
    histograms = summary.get("histograms") or {"truth": summary["data"]["histograms"]}
    for method, color, dash in _histogram_key(summary):
        found = histograms[method][name]
        edges = found.get("edges", EDGES[name].tolist())
        figure.add_scatter(
            x=[(low + high) / 2 for low, high in pairwise(edges)],
            y=[100 * share for share in found["shares"]],
            mode="lines",
            line={"color": color, "dash": dash, "width": 3 if method == "truth" else 1.8, "shape": "hvh"},
            hovertemplate=f"%{{y:.2g}}%<extra>{plot_text(method)}</extra>",
        )
    figure.update_xaxes(title=HISTOGRAMS[name], nticks=10)
    figure.update_yaxes(title="% of pixels", nticks=6, rangemode="tozero")
    return plots.to_json(figure)


def _people(people: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row for each band and contrast; ``few`` is the sentence for those with too few people."""
    bands = [
        {
            "name": row["band"],
            "people": row["people"],
            "photographs": row["photographs"],
            "few": row.get("too_few", ""),
            "cells": [] if "too_few" in row else _cells(row, SKIN),
        }
        for row in people["bands"]
    ]
    contrasts = [
        {
            "name": row["contrast"],
            "people": row["darker"]["people"] + row["lighter"]["people"],
            "photographs": "",
            "few": row.get("too_few", ""),
            "cells": [] if "too_few" in row else _signed(row),
        }
        for row in people["contrasts"]
    ]
    return {"bands": bands, "contrasts": contrasts}


def _signed(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [_split(shown(row[name], DIGITS.get(name, 2), signed=True)) for name in SKIN]

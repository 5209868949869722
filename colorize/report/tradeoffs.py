"""Compare quality and cost of configurations, and find the Pareto front."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from math import isfinite
from typing import Any

import numpy as np

from colorize.report import plots, words
from colorize.report.configurations import Configuration, has_direction, lower_is_better
from colorize.report.runs import Run


@dataclass(frozen=True)
class Cost:
    """A cost of a run.

    Attributes:
        name: Name in the page.
        key: Key in ``cost`` of ``summary.json``.
        show: Function that formats a value.
    """

    name: str
    key: str
    show: Callable[[float], str]

    def of(self, run: Run) -> float | None:
        """Return the cost of a run; None if it is not recorded."""
        told = run.summary.get("cost")
        value = told.get(self.key) if isinstance(told, dict) else None
        if self.key == "seconds" and value is None:  # costs of older runs are not or only partly recorded
            value = run.seconds
        return float(value) if isinstance(value, int | float) and isfinite(value) else None


def _count(value: float) -> str:
    return f"{value / 1e6:.4g} M" if value >= 1e6 else f"{value:.0f}"


COSTS = (
    Cost("seconds", "seconds", words.number),
    Cost("CPU-seconds", "cpu_seconds", words.number),
    Cost("GPU-seconds", "gpu_seconds", words.number),
    Cost("Wh of the CPU package", "energy_cpu_wh", words.number),
    Cost("Wh of the GPU", "energy_gpu_wh", words.number),
    Cost("GFLOP an image, G forward", "gflop_forward", words.number),
    Cost("GFLOP an image, training step", "gflop_step", words.number),
    Cost("images seen", "images", _count),
    Cost("parameters of G", "parameters_G", _count),
)


@dataclass(frozen=True)
class Point:
    """A configuration in one plot.

    Attributes:
        place: Rank, from 1.
        label: Label of the configuration.
        cost: Mean cost of its runs.
        value: Mean of the metric and bounds of its interval.
        undominated: Whether it is on the Pareto front.
    """

    place: int
    label: str
    cost: float
    value: tuple[float, float, float]
    undominated: bool


def undominated(costs: Sequence[float], values: Sequence[float], lower: bool) -> list[bool]:
    """Return which points are on the Pareto front: no other is at least as good in both and better in one.

    Args:
        costs: Costs; lower is better.
        values: Values of a metric.
        lower: Whether lower values are better.
    """
    points = np.column_stack([costs, np.asarray(values) * (1 if lower else -1)])
    return [not ((points <= point).all(1) & (points < point).any(1)).any() for point in points]


def tradeoffs(configurations: Sequence[Configuration], metrics: Sequence[str]) -> dict[str, Any] | None:
    """Return the contents of the section; None if no cost differs between configurations.

    Args:
        configurations: Configurations in the order of the ranking.
        metrics: Metrics to show, if their direction is known and a configuration has them.
    """
    costs = [cost for cost in COSTS if len({_mean(cost, one) for one in configurations} - {None}) > 1]
    metrics = [name for name in metrics if has_direction(name) and any(one.over_seeds(name) for one in configurations)]
    if not costs or not metrics:
        return None
    points = [[_points(configurations, metric, cost) for cost in costs] for metric in metrics]
    return {
        "metrics": metrics,
        "costs": [cost.name for cost in costs],
        "figures": [
            [_plot(found, metric, cost) for found, cost in zip(of_metric, costs, strict=True)]
            for of_metric, metric in zip(points, metrics, strict=True)
        ],
        "tables": [
            _rows(configurations, metric, costs, of_metric) for of_metric, metric in zip(points, metrics, strict=True)
        ],
    }


def _mean(cost: Cost, configuration: Configuration) -> float | None:
    found = [value for run in configuration.runs if run.metrics and (value := cost.of(run)) is not None]
    return float(np.mean(found)) if found else None


def _points(configurations: Sequence[Configuration], metric: str, cost: Cost) -> list[Point]:
    found = [
        (place, one.label, taken, value)
        for place, one in enumerate(configurations, 1)
        if (value := one.over_seeds(metric)) and (taken := _mean(cost, one)) is not None
    ]
    best = undominated([row[2] for row in found], [row[3][0] for row in found], lower_is_better(metric))
    return [Point(*row, undominated=on_front) for row, on_front in zip(found, best, strict=True)]


def _rows(
    configurations: Sequence[Configuration], metric: str, costs: Sequence[Cost], points: Sequence[Sequence[Point]]
) -> list[dict[str, Any]]:
    by_place = [{point.place: point for point in of_cost} for of_cost in points]
    rows = []
    for place, one in enumerate(configurations, 1):
        cells = [
            {"text": cost.show(found[place].cost), "undominated": found[place].undominated} if place in found else None
            for cost, found in zip(costs, by_place, strict=True)
        ]
        if any(cells):
            value = words.with_interval(one.over_seeds(metric))
            rows.append({"place": place, "label": one.label, "value": value, "cells": cells})
    return rows


def _plot(points: Sequence[Point], metric: str, cost: Cost) -> str:
    """Plot the metric over a cost, with ranks; points on the Pareto front are filled and connected."""
    figure = plots.new_figure(height=400)
    front = sorted((point for point in points if point.undominated), key=lambda point: point.cost)
    figure.add_scatter(
        x=[point.cost for point in front],
        y=[point.value[0] for point in front],
        mode="lines",
        line={"width": 1.5, "dash": "dot", "color": plots.ACCENT},
        hoverinfo="skip",
    )
    for chosen in (False, True):
        shown = [point for point in points if point.undominated == chosen]
        figure.add_scatter(
            x=[point.cost for point in shown],
            y=[point.value[0] for point in shown],
            error_y=plots.error_bars([point.value for point in shown]) | {"thickness": 1.2},
            mode="markers+text",
            marker={"size": 11, "symbol": "circle" if chosen else "circle-open", "color": plots.ACCENT},
            text=[str(point.place) for point in shown],
            textposition="middle right",
            cliponaxis=False,
            customdata=[[escape(point.label), cost.show(point.cost)] for point in shown],
            hovertemplate=f"%{{customdata[0]}}<br>%{{y:.4g}}; {cost.name} %{{customdata[1]}}<extra></extra>",
        )
    found = [point.cost for point in points]
    logarithmic = min(found) > 0 and max(found) > 4 * min(found)
    figure.update_xaxes(title=cost.name, nticks=6, type="log" if logarithmic else "linear")
    if cost.show is _count:
        figure.update_xaxes(exponentformat="SI")  # 50M
    figure.update_yaxes(title=metric, nticks=6)
    return plots.to_json(figure)

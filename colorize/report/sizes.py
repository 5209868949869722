"""Compute learning curves over the size of the training set."""

from collections.abc import Sequence
from html import escape
from typing import Any

from colorize.report import plots
from colorize.report.configurations import Configuration, label_of

KEY = "data.num_train"
Line = list[tuple[float, tuple[float, float, float]]]  # sizes in ascending order, each with mean and interval
SVG_DASHES = dict(zip(plots.DASHES, ("none", "7 4", "2 3", "7 3 2 3"), strict=True))


def learning_curves(configurations: Sequence[Configuration], metrics: Sequence[str]) -> dict[str, Any] | None:
    """Return the contents of the section; None if no two configurations differ only in the size of the training set.

    Args:
        configurations: Configurations in the order of the ranking.
        metrics: Metrics to show, if any line has them.
    """
    found = {metric: lines(configurations, metric) for metric in metrics}
    found = {metric: by_label for metric, by_label in found.items() if by_label}
    if not found:
        return None
    labels = list(dict.fromkeys(label for by_label in found.values() for label in by_label))
    return {
        "figures": [(metric, _plot(by_label, labels, metric)) for metric, by_label in found.items()],
        "key": [
            (label, plots.color(place), SVG_DASHES[plots.dash(place)]) for place, label in enumerate(labels) if label
        ],
    }


def lines(configurations: Sequence[Configuration], metric: str) -> dict[str, Line]:
    """Return a line for each set of configurations that differ only in the number of training images.

    Args:
        configurations: Configurations; those without a number of training images are skipped.
        metric: Metric; a point has its mean and interval over seeds.
    Returns:
        Lines of at least two points, by the label of their common settings, in the order of the ranking.
    """
    found: dict[str, Line] = {}
    for one in configurations:
        size, value = one.levels.get(KEY), one.over_seeds(metric)
        if isinstance(size, float) and value:
            others = {key: level for key, level in one.levels.items() if key != KEY}
            found.setdefault(label_of(others), []).append((size, value))
    return {label: sorted(line) for label, line in found.items() if len(line) > 1}


def _plot(by_label: dict[str, Line], labels: Sequence[str], metric: str) -> str:
    figure = plots.new_figure(height=380)
    for label, line in by_label.items():
        place = labels.index(label)
        figure.add_scatter(
            x=[size for size, _ in line],
            y=[value[0] for _, value in line],
            error_y=plots.error_bars([value for _, value in line]) | {"color": plots.color(place)},
            mode="lines+markers",
            marker={"size": 8},
            line={"color": plots.color(place), "dash": plots.dash(place), "width": 1.6},
            hovertemplate=f"{escape(label)}<br>%{{x:.0f}} images: %{{y:.4g}}<extra></extra>",
        )
    sizes = sorted({size for line in by_label.values() for size, _ in line})
    figure.update_xaxes(title="training images", type="log", tickvals=sizes, ticktext=[f"{size:.0f}" for size in sizes])
    figure.update_yaxes(title=metric, nticks=6)
    return plots.to_json(figure)

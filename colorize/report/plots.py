"""Create the plots of the report as plotly JSON; the page sets the colors of text and grid in light and dark mode."""

import textwrap
from collections.abc import Sequence
from html import escape
from math import isnan

import numpy as np
import plotly.graph_objects as go

from colorize.report.configurations import Configuration, Design, show
from colorize.report.curves import Change, Curve, thin
from colorize.report.effects import Factor, Level
from colorize.report.runs import Run
from colorize.vocabulary import STATES

# Contrast of at least 3:1 with the page in light and dark mode; dashes help people with color blindness
COLORS = ("#3b7dd8", "#d2691e", "#2a9166", "#a05fd0", "#c94f5d", "#178a9b", "#c2559a", "#85801c")
DASHES = ("solid", "dash", "dot", "dashdot")
STATE_COLORS = dict(zip(STATES, ("#2a9166", "#3b7dd8", "#a05fd0", "#85801c", "#d2691e", "#d03a3a"), strict=True))
STATE_SYMBOLS = dict(zip(STATES, ("circle", "triangle-up", "triangle-down", "square", "diamond", "x"), strict=True))
LONGEST = 46  # maximum characters of a label in a plot, one line on a phone
FEW = 6  # maximum levels of a plot at half the page width
ROW = 42  # height of a row of the ranking in pixels
ACCENT = COLORS[0]


def color(group: int) -> str:
    """Return the color of the configuration at a rank."""
    return COLORS[group % len(COLORS)]


def dash(group: int) -> str:
    """Return the dash style of the configuration at a rank."""
    return DASHES[group // len(COLORS) % len(DASHES)]


def ranking(configurations: Sequence[Configuration], metric: str) -> str:
    """Plot the seeds, mean and interval of each configuration, best on top, with its label above the dots."""
    figure = new_figure(height=len(configurations) * ROW + 60)
    for place, one in enumerate(configurations):
        figure.add_scatter(
            x=one.values,
            y=[place] * len(one.values),
            mode="markers",
            marker={"size": 7, "symbol": "circle-open", "opacity": 0.8, "color": ACCENT},
            hovertemplate="%{x:.4g}<extra>one run</extra>",
        )
        label = one.label if len(one.label) <= LONGEST else one.label[: LONGEST - 1] + "…"
        figure.add_annotation(
            **{"x": 0, "xref": "paper", "xanchor": "left", "y": place, "yshift": 15, "showarrow": False},
            text=escape(label),
            font={"size": 12.5},
        )
    figure.add_scatter(
        x=[one.mean for one in configurations],
        y=list(range(len(configurations))),
        error_x=error_bars([(one.mean, one.low, one.high) for one in configurations]),
        mode="markers",
        marker={"size": 10, "color": ACCENT},
        customdata=[[escape(one.label), len(one.values)] for one in configurations],
        hovertemplate="%{customdata[0]}<br>%{x:.4g}, n = %{customdata[1]}<extra></extra>",
    )
    figure.update_yaxes(visible=False, range=[len(configurations) - 0.5, -0.9])
    figure.update_xaxes(title=metric, nticks=6)
    figure.update_layout(margin={"l": 8, "r": 16, "t": 8})
    return to_json(figure)


def effect(factor: Factor, levels: Sequence[Level], design: Design, metric: str) -> str:
    """Plot the runs of a factor, and the mean and interval of each level."""
    names = [show(level.value) for level in levels]
    places = {level.value: place for place, level in enumerate(levels)}
    figure = new_figure(height=360 if len(levels) > FEW else 280)
    figure.add_scatter(
        x=[places[row[factor.key]] for row in design.rows],
        y=design.values,
        mode="markers",
        marker={"size": 7, "symbol": "circle-open", "opacity": 0.8, "color": ACCENT},
        hovertemplate="%{y:.4g}<extra>one run</extra>",
    )
    figure.add_scatter(
        x=list(range(len(levels))),
        y=[level.mean for level in levels],
        error_y=error_bars([(level.mean, level.low, level.high) for level in levels]),
        mode="markers+lines" if all(isinstance(level.value, float) for level in levels) else "markers",
        line={"width": 1.5, "dash": "dot", "color": ACCENT},
        marker={"size": 10, "color": ACCENT},
        hovertemplate="%{y:.4g}<extra>mean</extra>",
    )
    short = [escape(name if len(name) <= 18 else name[:17] + "…") for name in names]
    figure.update_xaxes(
        tickvals=list(range(len(names))),
        ticktext=short,
        range=[-0.5, len(names) - 0.5],
        showgrid=False,
        zeroline=False,
        autotickangles=[0, -45, -90],
    )
    figure.update_yaxes(title=metric, nticks=6)
    return to_json(figure)


def scatter(factor: Factor, design: Design, metric: str) -> str:
    """Plot the metric over a continuous factor."""
    x = [row[factor.key] for row in design.rows]
    figure = new_figure(height=280)
    figure.add_scatter(
        x=x,
        y=design.values,
        mode="markers",
        marker={"size": 8, "opacity": 0.7, "color": ACCENT},
        hovertemplate=f"{escape(factor.key)} %{{x:.4g}}<br>%{{y:.4g}}<extra></extra>",
    )
    logarithmic = min(x) > 0 and max(x) > 10 * min(x)
    figure.update_xaxes(nticks=6, type="log" if logarithmic else "linear")
    figure.update_yaxes(title=metric, nticks=6)
    return to_json(figure)


def curves(groups: Sequence[Sequence[Run]], name: str, by_epoch: bool) -> str | None:
    """Plot a logged quantity: a line per run in the color of its configuration, with marks at state changes.

    Args:
        groups: Runs of each configuration, in the order of the ranking.
        name: Name of the quantity.
        by_epoch: Whether the x-axis has epochs rather than batches.
    Returns:
        The figure as JSON; None if no run has the quantity.
    """
    figure = new_figure(height=380)
    lowest, highest = np.inf, -np.inf
    for group, runs in enumerate(groups):
        for run in runs:
            if name not in run.curves:
                continue
            x, y = _points(run, run.curves[name], by_epoch)
            if not len(x):
                continue
            lowest, highest = min(lowest, y.min()), max(highest, y.max())
            figure.add_scatter(
                x=x.astype(np.int32),
                y=y.astype(np.float32),
                mode="lines+markers" if len(x) < 12 else "lines",
                marker={"size": 5},
                line={"color": color(group), "dash": dash(group), "width": 1.6},
                opacity=0.85,
                legendgroup=str(group),
                hovertemplate=f"%{{y:.4g}}<extra>{escape(_named(run))}</extra>",
            )
            changes = run.changes[1:] if run.changes and run.changes[0].state == "healthy" else run.changes
            if changes:
                figure.add_trace(_marks(changes, x, y, by_epoch, group))
    if not figure.data:
        return None
    if sum(len(runs) for runs in groups) == 1:
        _shade(figure, groups[0][0], by_epoch)
    logarithmic = lowest > 0 and highest > 1000 * lowest
    figure.update_xaxes(title="epoch" if by_epoch else "batch", nticks=8, rangemode="tozero")
    if by_epoch and max(trace.x.max() for trace in figure.data) <= 8:
        figure.update_xaxes(dtick=1)  # only whole epochs
    figure.update_yaxes(title=name, nticks=7, type="log" if logarithmic else "linear")
    return to_json(figure)


def _points(run: Run, curve: Curve, by_epoch: bool) -> tuple[np.ndarray, np.ndarray]:
    if not by_epoch:
        return thin(curve.batches, curve.values)
    # The last row of a completed run scores all validation images, unlike the rows of its epochs
    epochs = run.summary.get("epochs", run.config.get("max_epochs"))
    kept = curve.epochs < epochs if isinstance(epochs, int) else np.ones(len(curve.epochs), bool)
    return thin(curve.epochs[kept] + 1, curve.values[kept])


def _marks(changes: Sequence[Change], x: np.ndarray, y: np.ndarray, by_epoch: bool, group: int) -> go.Scatter:
    at = [change.epoch + 1 if by_epoch else change.batch for change in changes]
    return go.Scatter(
        x=np.array(at, np.int32),
        y=np.interp(at, x, y).astype(np.float32),
        mode="markers",
        marker={
            "size": 11,
            "symbol": [STATE_SYMBOLS[change.state] for change in changes],
            "color": [STATE_COLORS[change.state] for change in changes],
            "line": {"width": 1.5, "color": "white"},  # makes marks visible on lines of the same color
        },
        legendgroup=str(group),
        customdata=[_told(change) for change in changes],
        hovertemplate="%{customdata}<extra></extra>",
    )


def _told(change: Change) -> str:
    lines = [f"epoch {change.epoch + 1}, batch {change.batch}: <b>{change.state}</b>"]
    lines += textwrap.wrap(escape(change.evidence, quote=False), 48)
    lines += [f"<i>{escape(change.action, quote=False)}</i>"] if change.action else []
    return "<br>".join(lines)


def _shade(figure: go.Figure, run: Run, by_epoch: bool) -> None:
    """Shade the periods in which a single run was not healthy."""
    ends = [change.epoch + 1 if by_epoch else change.batch for change in run.changes[1:]]
    last = max(float(np.max(trace.x)) for trace in figure.data)
    for change, end in zip(run.changes, [*ends, last], strict=False):
        start = change.epoch + 1 if by_epoch else change.batch
        if change.state != "healthy" and not change.action.startswith("rolled back") and end > start:
            figure.add_vrect(x0=start, x1=end, fillcolor=STATE_COLORS[change.state], opacity=0.12, line_width=0)


def _named(run: Run) -> str:
    return f"{run.name}, seed {run.choices['seed']}" if "seed" in run.choices else run.name


def error_bars(intervals: Sequence[tuple[float, float, float]]) -> dict:
    """Return error bars of length 0 where an interval is unknown."""
    up = [0.0 if isnan(high) else high - mean for mean, _, high in intervals]
    return {"type": "data", "array": up, "thickness": 2, "width": 5, "color": ACCENT}


def new_figure(height: int) -> go.Figure:
    """Return an empty figure with a height in pixels and the width of the page."""
    layout = {
        "template": {},  # plotly's default adds 7 kB per figure
        "height": height,
        "showlegend": False,
        "margin": {"l": 56, "r": 12, "t": 12, "b": 40},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hovermode": "closest",
        "xaxis": {"exponentformat": "e"},  # 2e-4, as typed, instead of 200µ
        "yaxis": {"exponentformat": "e"},
    }
    return go.Figure(layout=layout)


def to_json(figure: go.Figure) -> str:
    """Return the figure as JSON that is safe inside a script element."""
    return figure.to_json().replace("<", "\\u003c")

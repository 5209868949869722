"""Compute the sections of scores: a summary in sentences, the table, paired differences, curves over gains."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from html import escape
from typing import Any, NamedTuple

import numpy as np

from colorize.report import plots
from colorize.report.judged.results import Scores, matched
from colorize.report.words import number, with_interval
from colorize.scoring.methods import GREY, TRUTH
from colorize.scoring.result import Result
from colorize.scoring.scores import GAINS
from colorize.scoring.tables import AT_CF, HEADINGS, PLAIN, best, latex, markdown, notes

OTHERS = ("fid", "kid", "fid_lite2", "kid_lite2", "recognizability", *AT_CF)
PICTURE = tuple(name for name in PLAIN if name not in OTHERS)
OVER_GAINS = ("delta_e", "l1", "psnr", "ssim", "out_of_gamut")
TOLD = ("delta_e", "delta_e_at_cf", "lpips_vgg", "fid", "kid_lite2")  # scores in the summary, if available
SMALLEST = 1e-4  # smaller values are shown as less than this
WIDEST = 2.0  # end of the curves in the plot, as a multiple of the truth's colorfulness


class Pair(NamedTuple):
    """A difference of two rows: its value, the bounds of its interval, and the smallest detectable difference."""

    difference: float
    low: float
    high: float
    detectable: float

    @property
    def told(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


Pairs = dict[tuple[str, str, str], Pair]  # by score, first and second


def heading(score: str) -> str:
    """Return the label of a score with its better direction."""
    name, direction = HEADINGS[score]
    return f"{name} {direction}".strip() + (" at the truth's CF" if score.endswith("_at_cf") else "")


def score_sections(scores: Scores) -> dict[str, Any]:
    """Return the template values of scores."""
    result = scores.result
    plain = replace(result, rows=scores.methods | scores.references)
    pairs = _indexed(result.paired)
    names = list(scores.methods)
    return {
        "sentences": list(_sentences(scores, plain, pairs)),
        "tiles": _tiles(scores),
        "tables": [table for table in (_table(scores, plain, PICTURE), _table(scores, plain, OTHERS)) if table],
        "differences": list(_differences(scores, pairs)),
        "gains": [(heading(name), _gain_curves(scores, name)) for name in OVER_GAINS],
        "methods": [(name, plots.color(at), plots.dash(at)) for at, name in enumerate(names)],
        "checks": result.checks,
        "notes": [*notes(result), *scores.notes],
        "markdown": markdown(result),
        "latex": latex(result),
        "facts": _facts(scores),
    }


def _indexed(paired: Sequence[Mapping[str, Any]]) -> Pairs:
    """Return differences by score, first and second, in both directions."""
    found: Pairs = {}
    for pair in paired:
        (low, high), difference, detectable = pair["ci95"], pair["difference"], pair["detectable"]
        found[pair["score"], pair["first"], pair["second"]] = Pair(difference, low, high, detectable)
        found[pair["score"], pair["second"], pair["first"]] = Pair(-difference, -high, -low, detectable)
    return found


def _with_ends(row: Mapping[str, Any], score: str) -> tuple[float, float, float]:
    low, high = row["ci95"].get(score, (np.nan, np.nan))
    return row["scores"][score], low, high


def shown_as(row: Mapping[str, Any], score: str) -> tuple[str, str]:
    """Format a value of a row and its interval; empty if there is none."""
    if score not in row["scores"]:
        return "", ""
    value, low, high = _with_ends(row, score)
    if value == 0 or abs(value) < SMALLEST > abs(high):
        return ("0" if value == 0 else f"< {SMALLEST:.4f}"), ""
    text, _, interval = with_interval((value, low, high)).partition(" [")
    if error := row["scores"].get(f"{score}_std"):  # KID's standard error
        return text, f"± {error:.2g}"
    return text, f"[{interval}" if interval else ""


def _tiles(scores: Scores) -> list[tuple[str, str]]:
    result, passed = scores.result, sum(check["passed"] for check in scores.result.checks)
    return [
        ("methods" if len(scores.methods) != 1 else "method", str(len(scores.methods))),
        ("images", str(result.truth["images"])),
        ("protocol", result.protocol["name"]),
        ("checks of the scores passed", f"{passed} / {len(result.checks)}"),
    ]


def _sentences(scores: Scores, plain: Result, pairs: Pairs) -> Iterator[str]:
    for score in TOLD:
        if line := _leader(scores.methods, plain, pairs, score):
            yield line
    truth = scores.references.get(TRUTH)
    if truth and scores.methods:
        colors = {name: row["scores"]["colorfulness_abs"] for name, row in scores.methods.items()}
        target = truth["scores"]["colorfulness_abs"]
        nearest = min(colors, key=lambda name: abs(colors[name] - target))
        value = with_interval(_with_ends(scores.methods[nearest], "colorfulness_abs"))
        least = f", the closest of {len(colors)}," if len(colors) > 1 else ""
        yield f"Colorfulness of the truth is {number(target)}; {nearest}{least} has {value}."
    failed = [check["check"] for check in scores.result.checks if not check["passed"]]
    if failed:
        yield f"Failed checks of the reference rows: {'; '.join(failed)}."


def _leader(methods: Mapping[str, Mapping[str, Any]], plain: Result, pairs: Pairs, score: str) -> str | None:
    """Describe the best method by a score, and whether it is significantly better."""
    lower = HEADINGS[score][1] == "↓"
    known = sorted(
        (name for name, row in methods.items() if score in row["scores"]),
        key=lambda name: methods[name]["scores"][score] * (1 if lower else -1),
    )
    if not known:
        return None
    first = known[0]
    name = HEADINGS[score][0] + (", at the truth's colorfulness," if score.endswith("_at_cf") else "")
    value = with_interval(_with_ends(methods[first], score))
    if len(known) == 1:
        pair, line = pairs.get((score, first, GREY)), f"{name} of {first} is {value}"
        if pair is None:
            return f"{line}."
        verdict = "" if pair.told else ", which is not significant"
        return f"{line}; the difference from grey is {with_interval(pair[:3], signed=True)}{verdict}."
    line = f"{name} is {'lowest' if lower else 'highest'} for {first}, {value}"
    if best(plain, score) == first:
        return f"{line}; all differences from the others are significant."
    close = [other for other in known[1:] if (pair := pairs.get((score, first, other))) and not pair.told]
    if close:
        what = "difference from {} is" if len(close) == 1 else "differences from {} are"
        return f"{line}; the {what.format(_listed(close))} not significant."
    return f"{line}{'' if score in methods[first]['ci95'] else ', without an interval'}."


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _table(scores: Scores, plain: Result, columns: Sequence[str]) -> dict[str, Any] | None:
    """Return a table: methods, methods at the truth's colorfulness, and reference rows."""
    own = [*scores.methods.values(), *scores.matched.values()]
    kept = [name for name in columns if any(name in row["scores"] for row in own)]
    if not kept:
        return None
    groups = [("", scores.methods), ("reference rows", scores.references)]
    if not set(kept) <= set(AT_CF):  # such rows would repeat the same values
        groups.insert(1, ("at the truth's colorfulness", scores.matched))
    bold = {name: best(plain, name) for name in kept}
    images = scores.result.truth["images"]
    found = []
    for title, rows in groups:
        content = []
        for name, row in rows.items():
            cells = [(*shown_as(row, score), name == bold[score]) for score in kept]
            if any(text for text, *_ in cells):
                few = f"{row['images']} images" if row["images"] != images else ""
                content.append({"name": name, "few": few, "cells": cells})
        if content:
            found.append({"title": title, "rows": content})
    at_cf = [name for name in kept if name.endswith("_at_cf")]
    heads = [("\u00a0".join(filter(None, HEADINGS[name])), name in at_cf) for name in kept]
    return {"heads": heads, "at_cf": len(at_cf), "groups": found}


def _differences(scores: Scores, pairs: Pairs) -> Iterator[dict[str, Any]]:
    """Yield a plot and a table for each score with a direction, separately for rows at the truth's colorfulness."""
    for rows, ending in ((scores.methods, ""), (scores.matched, ", rows at the truth's CF")):
        for score in (*PICTURE, *OTHERS):
            known = [name for name, row in rows.items() if score in row["scores"]]
            table = _matrix(known, score, pairs)
            if table:
                label = heading(score) + ending
                figure = _intervals({name: _with_ends(rows[name], score) for name in known}, label)
                yield {"label": label, "figure": figure, **table}


def _matrix(known: Sequence[str], score: str, pairs: Pairs) -> dict[str, Any] | None:
    direction = HEADINGS[score][1]
    columns = [name for name in (*known, GREY) if any((score, row, name) in pairs for row in known)]
    if not direction or not columns:
        return None
    rows = []
    for name in known:
        cells = []
        for other in columns:
            pair = pairs.get((score, name, other))
            if pair is None:
                cells.append(None)
                continue
            text, _, ends = with_interval(pair[:3], signed=True).partition(" [")
            verdict = ("better" if (pair.high < 0) == (direction == "↓") else "worse") if pair.told else "chance"
            smallest = f"{pair.detectable:.2g}"
            cells.append({"text": text, "ends": f"[{ends}", "verdict": verdict, "smallest": smallest})
        rows.append((name, cells))
    return {"columns": columns, "rows": rows}


def _intervals(values: Mapping[str, tuple[float, float, float]], label: str) -> str:
    """Plot the value and interval of each row, best on top, with its name above its dot."""
    ordered = sorted(values, key=lambda name: values[name][0], reverse="↑" in label)
    figure = plots.new_figure(height=len(ordered) * plots.ROW + 60)
    for place, name in enumerate(ordered):
        figure.add_annotation(
            **{"x": 0, "xref": "paper", "xanchor": "left", "y": place, "yshift": 15, "showarrow": False},
            text=plot_text(name),
            font={"size": 12.5},
        )
    found = [values[name] for name in ordered]
    bars = plots.error_bars(found)
    low = [0.0 if np.isnan(low) else value - low for value, low, _ in found]
    figure.add_scatter(
        x=[value for value, *_ in found],
        y=list(range(len(ordered))),
        error_x=bars | {"arrayminus": low, "symmetric": False},
        mode="markers",
        marker={"size": 10, "color": plots.ACCENT},
        customdata=[plot_text(name) for name in ordered],
        hovertemplate="%{customdata}<br>%{x:.4g}<extra></extra>",
    )
    figure.update_yaxes(visible=False, range=[len(ordered) - 0.5, -0.9])
    figure.update_xaxes(title=label, nticks=6)
    figure.update_layout(margin={"l": 8, "r": 16, "t": 8})
    return plots.to_json(figure)


def plot_text(name: str) -> str:
    """Shorten a name and escape it for plotly, which renders HTML."""
    return escape(name if len(name) <= plots.LONGEST else name[: plots.LONGEST - 1] + "…")


def _gain_curves(scores: Scores, score: str) -> str:
    """Plot a score against colorfulness over gains of chroma, with a dot at gain 1."""
    figure = plots.new_figure(height=400)
    target = _target(scores)
    own = GAINS.index(1.0)
    for at, (name, row) in enumerate(scores.methods.items()):
        curve = row["curve"]
        shown = max(own + 1, sum(color <= WIDEST * target for color in curve["colorfulness_abs"]))
        figure.add_scatter(
            x=curve["colorfulness_abs"][:shown],
            y=curve[score][:shown],
            mode="lines+markers",
            line={"color": plots.color(at), "dash": plots.dash(at), "width": 2},
            marker={"size": [11 if place == own else 4 for place in range(shown)]},
            customdata=[f"{gain:.2f}" for gain in curve["gain"][:shown]],
            hovertemplate=f"{plot_text(name)}, gain %{{customdata}}<br>CF %{{x:.4g}}: %{{y:.4g}}<extra></extra>",
        )
    grey = scores.references.get(GREY)
    if grey and scores.methods:
        figure.add_scatter(
            x=grey["curve"]["colorfulness_abs"][:1],
            y=grey["curve"][score][:1],
            mode="markers",
            marker={"size": 11, "symbol": "x", "color": "#7d838c"},
            cliponaxis=False,  # the point is on the axis
            hovertemplate="grey<br>%{y:.4g}<extra></extra>",
        )
    figure.add_vline(
        x=target,
        line={"color": "#7d838c", "dash": "dot", "width": 1.5},
        annotation={"text": f"truth {target:.1f}", "xanchor": "left", "showarrow": False},
    )
    figure.update_xaxes(title="mean colorfulness (CF)", nticks=8, rangemode="tozero")
    figure.update_yaxes(title=heading(score), nticks=7)
    return plots.to_json(figure)


def _target(scores: Scores) -> float:
    return next(iter(scores.methods.values()))["curve"]["truth"] if scores.methods else 0.0


def _facts(scores: Scores) -> list[tuple[str, str]]:
    result = scores.result
    keys = ("about", "lightness", "resampling", "rounding")
    facts = [(key, result.protocol[key]) for key in keys]
    facts.append(("images", f"{result.truth['images']} of {result.truth['of']}, list {result.truth['list'][:16]}"))
    for name, row in result.rows.items():
        source = row.get("folder") or row.get("model")
        if source and not matched(name):
            facts.append((name, str(source)))
    facts.append(("commit", str(result.about.get("commit"))))
    versions = result.about.get("versions", {})
    return [*facts, ("versions", ", ".join(f"{name} {version}" for name, version in versions.items()))]

"""Build the report of runs: compute the contents of each section and fill the template."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import combinations
from typing import Any

import numpy as np

from colorize.report import plots, words
from colorize.report.configurations import Configuration, Design, arrange, lower_is_better, show
from colorize.report.data_sets import by_data_set
from colorize.report.effects import cell_means, decompose, main_effect
from colorize.report.runs import Run
from colorize.report.samples import MOST, sheets
from colorize.report.sizes import learning_curves
from colorize.report.templates import filled, page
from colorize.report.tradeoffs import tradeoffs
from colorize.vocabulary import EVALUATED

RANKED = 40  # maximum configurations in the plot of the ranking; the table shows all
LINES = 12  # configurations whose curves are shown initially
SCORES = ("val/l1", "val/raw_l1", *(f"val/{name}" for name in EVALUATED[1:]))


def render(runs: Sequence[Run], metric: str, folder: str) -> str:
    """Return the report of runs as self-contained HTML.

    Args:
        runs: At least one run.
        metric: Metric that configurations are ranked by.
        folder: Title of the page.
    Raises:
        UserError: If the metric is invalid.
    """
    sets = by_data_set(runs)
    ranked = [(title, group) for title, group in sets if _measured(group, metric)] or sets[:1]
    notes = [
        f"{title}: left out, because no run has {metric}." for title, group in sets if (title, group) not in ranked
    ]
    parts = [
        {
            "at": f"set-{number}-" if number else "",
            "title": title,
            "runs": len(group),
            "html": filled("sections.html", _sections(group, metric, f"set-{number}-" if number else "", title)),
        }
        for number, (title, group) in enumerate(ranked)
    ]
    return page(folder, parts, notes)


def _measured(runs: Sequence[Run], metric: str) -> bool:
    """Return whether runs can be ranked by a metric: a run has it, or no run has been scored."""
    known = {name for run in runs for name in run.logged if name.startswith("val/")}
    return not known or metric in known


def _sections(runs: Sequence[Run], metric: str, at: str, title: str) -> dict[str, Any]:
    """Return the contents of the sections for one set of images; ``at`` is the prefix of their ids."""
    configurations, design = arrange(runs, metric)
    decomposition = decompose(design.factors, design.rows, design.values)
    ranked = [one for one in configurations if one.values]
    metrics = [metric, *(name for name in SCORES if name != metric)]
    weight = {share.term: share.share for share in decomposition.shares}
    return {
        "at": at,
        "title": title,
        "metric": metric,
        "lower": lower_is_better(metric),
        "shared": " ".join(design.shared),
        "sentences": words.sentences(runs, configurations, design, decomposition, metric),
        "tiles": _tiles(runs, ranked, metric),
        "ranking": _ranking(configurations, metric),
        "ranking_plot": plots.ranking(ranked[:RANKED], metric) if len(ranked) > 1 else None,
        "left_out": max(0, len(ranked) - RANKED),
        "factors": sorted(_factors(design, metric), key=lambda factor: -weight.get((factor["key"],), 0)),
        "decomposition": decomposition,
        "interactions": list(_interactions(design, metric)),
        "tradeoffs": tradeoffs(configurations, metrics),
        "sizes": learning_curves(configurations, metrics),
        "curves": list(_curves(configurations, metrics)),
        "legend": [(one.label, plots.color(place), place < LINES) for place, one in enumerate(configurations)],
        "states": [(state, plots.STATE_COLORS[state]) for state in words.summed(runs)],
        "sheets": sheets(configurations),
        "most": MOST,
        "failures": list(_failures(configurations, metric)),
        "cost": _cost(configurations),
        "provenance": _provenance(runs),
    }


def _tiles(runs: Sequence[Run], ranked: Sequence[Configuration], metric: str) -> list[tuple[str, str]]:
    completed = sum(run.status == "completed" for run in runs)
    return [
        ("completed", f"{completed} / {len(runs)}"),
        ("configurations" if len(ranked) != 1 else "configuration", str(len(ranked))),
        (f"best {metric}" if len(ranked) > 1 else metric, words.number(ranked[0].mean) if ranked else "–"),
        ("total time", words.duration(_total(runs))),
    ]


def _ranking(configurations: Sequence[Configuration], metric: str) -> dict[str, Any]:
    scores = [name for name in SCORES if name != metric and any(one.over_seeds(name) for one in configurations)]
    rows = []
    for one in configurations:
        means = [one.over_seeds(name) for name in scores]
        rows.append(
            {
                "label": one.label,
                "runs": len(one.runs),
                "n": len(one.values),
                "value": words.with_interval((one.mean, one.low, one.high)),
                "scores": [words.number(mean[0] if mean else None) for mean in means],
                "states": words.states(words.summed(one.runs)),
                "state": _ended(one.runs),
                "rollbacks": sum(run.rollbacks for run in one.runs),
                "command": one.runs[0].command,
                "seeds": [run.choices["seed"] for run in one.runs[1:] if "seed" in run.choices],
            }
        )
    return {"scores": scores, "rows": rows}


def _ended(runs: Sequence[Run]) -> str:
    counts = Counter(run.state for run in runs if run.state)
    return ", ".join(f"{state} {count}" if len(counts) > 1 else state for state, count in counts.most_common()) or "–"


def _factors(design: Design, metric: str) -> Iterator[dict[str, Any]]:
    for factor in design.factors:
        if factor.continuous:
            yield {"key": factor.key, "plot": plots.scatter(factor, design, metric), "levels": [], "wide": False}
            continue
        levels = main_effect(factor, design.factors, design.rows, design.values)
        if len(levels) > 1:
            rows = [{"name": show(level.value), "level": level} for level in levels]
            plot = plots.effect(factor, levels, design, metric)
            yield {"key": factor.key, "plot": plot, "levels": rows, "wide": len(levels) > plots.FEW}


def _interactions(design: Design, metric: str) -> Iterator[dict[str, Any]]:
    """Yield a table for each pair of factors with levels; ``shade`` is 1 for the best mean and 0 for the worst."""
    for a, b in combinations([factor for factor in design.factors if not factor.continuous], 2):
        cells = cell_means(a, b, design.rows, design.values)
        if len({row for row, _ in cells}) < 2 or len({column for _, column in cells}) < 2:
            continue
        means = [mean for mean, *_ in cells.values()]
        worst, best = (max(means), min(means)) if lower_is_better(metric) else (min(means), max(means))
        rows = []
        for row in a.levels:
            found = [cells.get((row, column)) for column in b.levels]
            if any(found):
                shown = [
                    cell and {"mean": cell, "n": cell[3], "shade": (cell[0] - worst) / ((best - worst) or 1)}
                    for cell in found
                ]
                rows.append((show(row), shown))
        yield {"a": a.key, "b": b.key, "columns": [show(column) for column in b.levels], "rows": rows}


def _curves(configurations: Sequence[Configuration], metrics: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the three groups of curves, each with the quantities to choose from."""
    groups = [one.runs for one in configurations]
    logged = list(dict.fromkeys(name for runs in groups for run in runs for name in run.curves))
    losses = sorted(name for name in logged if name.startswith("train/loss_") and not name.endswith("_epoch"))
    for title, names, by_epoch in (
        ("Scores by epoch", metrics, True),
        ("Training losses by batch", ["train/loss_G", *(name for name in losses if name != "train/loss_G")], False),
        (
            "Diagnosis by batch",
            sorted(name for name in logged if name.startswith("diag/") and name != "diag/state"),
            False,
        ),
    ):
        figures = [(name, plots.curves(groups, name, by_epoch)) for name in names if name in logged]
        figures = [(name, figure) for name, figure in figures if figure]
        if figures:
            yield {"title": title, "figures": figures}


def _failures(configurations: Sequence[Configuration], metric: str) -> Iterator[dict[str, Any]]:
    for one in configurations:
        for run in one.runs:
            ill = run.state not in (None, "healthy")
            no_number = metric in run.logged and metric not in run.metrics
            if run.status == "completed" and not ill and not no_number:
                continue
            told = [change for change in run.changes if change.state == run.state] if ill else []
            yield {
                "run": run.name,
                "label": one.label,
                "seed": run.choices.get("seed", ""),
                "status": run.status,
                "state": run.state if ill else "",
                "error": run.error or (f"{metric} is NaN or infinite" if no_number else ""),
                "last": words.number(run.last(metric)) if run.status != "completed" else "",
                "evidence": told[-1].evidence if told else "",
                "action": told[-1].action if told else "",
                "command": run.command,
            }


def _cost(configurations: Sequence[Configuration]) -> dict[str, Any]:
    rows = [
        {
            "label": one.label,
            "runs": len(one.runs),
            "each": words.duration(_mean(run.seconds for run in one.runs)),
            "all": words.duration(_total(one.runs)),
            "speed": words.number(_mean(run.summary.get("images_per_s") for run in one.runs)),
            "memory": words.memory(_most(run.summary.get("peak_memory_bytes") for run in one.runs)),
        }
        for one in configurations
    ]
    runs = [run for one in configurations for run in one.runs]
    return {"rows": rows, "runs": len(runs), "total": words.duration(_total(runs))}


def _provenance(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """Return commit, device and versions; if runs differ, every value with its number of runs."""
    found: dict[str, Counter] = {"commit": Counter(), "device": Counter()}
    for run in runs:
        versions = run.summary.get("versions")
        told = {name: run.summary.get(name) for name in ("commit", "device")}
        for name, value in (told | (versions if isinstance(versions, dict) else {})).items():
            if value:
                found.setdefault(name, Counter())[str(value)] += 1
    rows = []
    for name, counts in found.items():
        if counts:
            several = len(counts) > 1
            rows.append((name, ", ".join(f"{value} ({n} runs)" if several else value for value, n in counts.items())))
    first, last = (f"{datetime.fromtimestamp(pick(run.written for run in runs)):%Y-%m-%d %H:%M}" for pick in (min, max))
    return [*rows, ("runs ended", first if first == last else f"{first} to {last}")]


def _known(values: Iterator[Any]) -> list[float]:
    return [value for value in values if isinstance(value, int | float)]


def _mean(values: Iterator[Any]) -> float | None:
    known = _known(values)
    return float(np.mean(known)) if known else None


def _most(values: Iterator[Any]) -> float | None:
    return max(_known(values), default=None)


def _total(runs: Sequence[Run]) -> float | None:
    known = _known(run.seconds for run in runs)
    return sum(known) if known else None

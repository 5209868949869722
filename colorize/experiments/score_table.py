"""Scores as a terminal table: a row per metric, a column per model, at most 80 characters wide."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

WIDTH = 80
ABREAST = 2  # models per table, besides grey and the ground truth


def print_scores(
    rows: Mapping[str, Mapping[str, Any]], references: Sequence[str], metrics: Sequence[str], console: Console
) -> None:
    """Print metrics, with the models' 95% intervals below the values.

    Args:
        rows: metric values by metric and name; ``ci95`` maps metrics to intervals.
        references: names of the rows that models are compared with, shown in every table.
        metrics: metrics to show, in order.
        console: console to print to.
    """
    models = [name for name in rows if name not in references]
    numbers = {name: f"model {number}" if len(models) > 1 else "model" for number, name in enumerate(models, start=1)}
    groups = [models[start : start + ABREAST] for start in range(0, len(models), ABREAST)]
    for group in groups:
        table = Table("", *references, *(numbers[name] for name in group), box=None, padding=(0, 2, 0, 0))
        table.columns[0].no_wrap = True
        for column in table.columns[1:]:
            column.justify = "right"
        for metric in metrics:
            cells = [_value(rows[name], metric) for name in references]
            cells += [_value(rows[name], metric) + _interval(rows[name], metric) for name in group]
            table.add_row(metric, *cells)
        console.print(table, width=WIDTH)
    for name, number in numbers.items():
        console.print(f"{number}: {name}", markup=False, highlight=False, soft_wrap=True)


def _value(row: Mapping[str, Any], metric: str) -> str:
    return f"{row[metric]:.4g}" if metric in row else ""


def _interval(row: Mapping[str, Any], metric: str) -> str:
    interval = row["ci95"].get(metric)
    return f"\n\\[{interval[0]:.4g}, {interval[1]:.4g}]" if interval else ""

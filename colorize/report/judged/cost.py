"""Read the training cost of methods that are checkpoints of a run, from its ``summary.json``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from colorize.base.errors import UserError
from colorize.report.runs import Run, read_runs
from colorize.report.tradeoffs import COSTS


def cost_table(methods: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return a row of costs for each method whose run is known; None if there is none.

    Args:
        methods: Rows of scores; ``model`` is the checkpoint ``RUN/checkpoints/NAME.ckpt``.
    """
    runs = {name: run for name, row in methods.items() if (run := _run(row.get("model")))}
    costs = [cost for cost in COSTS if any(cost.of(run) is not None for run in runs.values())]
    if not costs:
        return None
    rows = []
    for name, run in runs.items():
        found = [cost.of(run) for cost in costs]
        cells = ["–" if value is None else cost.show(value) for cost, value in zip(costs, found, strict=True)]
        rows.append({"name": name, "cells": cells, "command": run.command})
    return {"heads": [cost.name for cost in costs], "rows": rows}


def _run(checkpoint: str | None) -> Run | None:
    """Return the run of a checkpoint; None if its summary is missing."""
    folder = Path(checkpoint).parent.parent if checkpoint else None
    if folder is None or Path(checkpoint).suffix != ".ckpt" or not (folder / "summary.json").is_file():
        return None
    try:
        return next((run for run in read_runs(folder) if run.path == folder), None)
    except UserError:
        return None

"""Read run directories, complete or not, into plain data."""

import json
import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from colorize.base.errors import UserError
from colorize.report.curves import Change, Curve, read_changes, read_curves
from colorize.sweeps.table import read_jobs
from colorize.vocabulary import STATES

LEFT_BY_A_RUN = ("job.json", "summary.json", "metrics.csv", "checkpoints")
OF_A_SWEEP = ("sweep=", "ckpt_path=last")  # overrides of a sweep that have another meaning in a single run
HELD_BY_A_RUN = {
    "checkpoints",
    "samples",
    "wandb",
    "tensorboard",
    ".hydra",
    ".git",
    ".venv",
}  # folders that are not searched


@dataclass(frozen=True)
class Run:
    """A training run, as read from its directory.

    Attributes:
        path: Directory of the run.
        name: Path relative to the searched folder.
        overrides: Overrides as typed, such as ``lr=1e-4``.
        config: Composed config, nested; empty if missing.
        status: completed, failed, interrupted, pruned or running; unfinished if there is no other information than the
            missing summary.
        error: Error message of a failed run; empty otherwise.
        metrics: Finite final metrics of summary.json, by name; empty unless completed.
        logged: Names of all final metrics.
        curves: Curves of metrics.csv.
        changes: State changes of states.csv.
        states: Number of observations in each state.
        state: Last state; None if unknown.
        rollbacks: Number of rollbacks.
        seconds: Duration; None if unknown.
        summary: Contents of summary.json.
        samples: Newest picture of validation samples; None if there is none.
        written: Time of the last write, in seconds since 1970.
    """

    path: Path
    name: str
    overrides: tuple[str, ...]
    config: dict[str, Any]
    status: str
    error: str
    metrics: dict[str, float]
    logged: tuple[str, ...]
    curves: dict[str, Curve]
    changes: list[Change]
    states: dict[str, int]
    state: str | None
    rollbacks: int
    seconds: float | None
    summary: dict[str, Any]
    samples: Path | None
    written: float

    @property
    def choices(self) -> dict[str, str]:
        """Return the overrides by key, without ``+`` and ``~``."""
        pairs = (override.lstrip("+~").partition("=") for override in self.overrides)
        return {key: value for key, _, value in pairs}

    @property
    def command(self) -> str:
        """Return the shell command that repeats the training as a single run."""
        kept = (override for override in self.overrides if not override.lstrip("+").startswith(OF_A_SWEEP))
        return shlex.join(["python", "train.py", *kept])

    def last(self, metric: str) -> float | None:
        """Return the last logged value of a metric; None if there is none."""
        curve = self.curves.get(metric)
        return float(curve.values[-1]) if curve else None


def read_runs(folder: Path) -> list[Run]:
    """Read all runs in a folder and its subfolders, sorted by name.

    Args:
        folder: Folder of a run, a sweep, or several of them.
    Raises:
        UserError: If there are no runs.
    """
    if not folder.is_dir():
        raise UserError(
            f"no runs in {folder}: it is not a folder; use one such as outputs/DATE/TIME or multirun/DATE/TIME"
        )
    found = sorted(_search(folder), key=lambda path: _natural(path.relative_to(folder)))
    if not found:
        raise UserError(
            f"no runs in {folder}: a run writes {', '.join(LEFT_BY_A_RUN)}; use a folder such as outputs/DATE/TIME or "
            "multirun/DATE/TIME"
        )
    jobs = {job["folder"]: job for sweep in {path.parent for path in found} for job in _jobs(sweep)}
    return [_read_run(path, folder, jobs.get(path) or _json(path / "job.json")) for path in found]


def _jobs(sweep: Path) -> list[dict[str, Any]]:
    try:
        return read_jobs(sweep)
    except (ValueError, KeyError, TypeError, AttributeError):  # a file is damaged: read each job separately
        return []


def _search(folder: Path) -> Iterator[Path]:
    for path, folders, files in os.walk(folder):
        # A failed command leaves at most the files of Hydra; only eval.py writes metrics.json
        if set(LEFT_BY_A_RUN) & {*folders, *files} and "metrics.json" not in files:
            yield Path(path)
        folders[:] = [name for name in folders if name not in HELD_BY_A_RUN]


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Return a sort key that orders 10 after 9."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in path.parts]


def _read_run(path: Path, folder: Path, job: dict[str, Any]) -> Run:
    summary = _json(path / "summary.json")
    curves, changes = read_curves(path / "metrics.csv"), read_changes(path / "states.csv")
    overrides = job.get("overrides")
    if not isinstance(overrides, list):
        overrides = _yaml(path / ".hydra/overrides.yaml")
    status = job.get("status") or ("completed" if summary else "unfinished")
    states = _counted(summary, curves)
    pictures = sorted((path / "samples").glob("epoch-*.png"), key=lambda picture: (len(picture.name), picture.name))
    seconds = summary.get("seconds", job.get("seconds"))
    rollbacks = summary.get("rollbacks")
    if not isinstance(rollbacks, int):
        rollbacks = sum(change.action.startswith("rolled back") for change in changes)
    config = _yaml(path / ".hydra/config.yaml")
    metrics = summary.get("metrics")
    metrics = metrics if isinstance(metrics, dict) else {}
    return Run(
        path=path,
        name=str(path.relative_to(folder)) if path != folder else path.resolve().name,
        overrides=tuple(str(override) for override in overrides) if isinstance(overrides, list) else (),
        config=config if isinstance(config, dict) else {},
        status=str(status),
        error=str(job.get("error") or ""),
        metrics={name: float(value) for name, value in metrics.items() if _is_number(value)},
        logged=tuple(metrics),
        curves=curves,
        changes=changes,
        states=states,
        state=_last_state(summary, changes, curves),
        rollbacks=rollbacks,
        seconds=seconds if _is_number(seconds) else None,
        summary=summary,
        samples=pictures[-1] if pictures else None,
        written=max((found.stat().st_mtime for found in _written(path)), default=path.stat().st_mtime),
    )


def _counted(summary: dict[str, Any], curves: dict[str, Curve]) -> dict[str, int]:
    """Return the number of observations of each state, from the summary or else from the log."""
    told = summary.get("states")
    if isinstance(told, dict):
        return {state: told[state] for state in STATES if isinstance(told.get(state), int) and told[state] > 0}
    if "diag/state" not in curves:
        return {}
    codes = curves["diag/state"].values
    counts = {state: int((codes == code).sum()) for code, state in enumerate(STATES)}
    return {state: count for state, count in counts.items() if count}


def _last_state(summary: dict[str, Any], changes: list[Change], curves: dict[str, Curve]) -> str | None:
    if summary.get("state") in STATES:
        return summary["state"]
    if changes:
        return "healthy" if changes[-1].action.startswith("rolled back") else changes[-1].state
    if "diag/state" in curves and 0 <= (code := int(curves["diag/state"].values[-1])) < len(STATES):
        return STATES[code]
    return None


def _written(path: Path) -> list[Path]:
    names = ("summary.json", "metrics.csv", "job.json", ".hydra/config.yaml")
    return [path / name for name in names if (path / name).exists()]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and isfinite(value)


def _json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; empty if missing or damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _yaml(path: Path) -> Any:
    """Return the unresolved contents of a YAML file; an empty dictionary if missing or damaged."""
    try:
        return OmegaConf.to_container(OmegaConf.load(path))
    except Exception:  # errors of YAML and OmegaConf have no common base class
        return {}

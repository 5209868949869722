"""Results of a sweep's jobs, one by one and as means over seeds; no heavy imports."""

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from colorize.base.files import write_csv

LOCK = "job.lock"  # in a job's directory, locked while the job runs
FINISHED = {"completed", "pruned"}  # not run again; a search does not rerun failed jobs either
FIRST = ["job", "status", "seconds", "overrides", "error"]  # first columns; then the choices, then the metrics


def read_jobs(folder: Path) -> list[dict[str, Any]]:
    """Read the jobs of a sweep's directory, in order of their numbers.

    Returns:
        A dict per job, with ``folder`` (its directory), ``job`` (its number), ``status`` (running, completed, pruned,
        failed, or interrupted), ``overrides`` (a list), ``choices`` (the overrides as a dict from key to value, both
        as typed), ``seconds``, ``value`` (which the sweep minimizes) and ``error`` if known, ``metrics`` (name to
        number, empty before a run's end) and ``summary`` (``summary.json``, or empty).
    """
    jobs = []
    for path in Path(folder).glob("*/job.json"):
        record = json.loads(path.read_text())
        if record["status"] == "running" and not _is_locked(path.parent):
            record["status"] = "interrupted"  # without time to record it: SIGKILL, power failure
        summary = path.with_name("summary.json")
        summary = json.loads(summary.read_text()) if summary.exists() else {}
        choices = dict(override.lstrip("+").split("=", 1) for override in record["overrides"] if "=" in override)
        found = {"folder": path.parent, "choices": choices, "metrics": summary.get("metrics", {}), "summary": summary}
        jobs.append(record | found)
    return sorted(jobs, key=lambda job: job["job"])


def _is_locked(folder: Path) -> bool:
    """Return whether a process runs the job of a directory."""
    if not (folder / LOCK).exists():
        return False
    try:
        with FileLock(folder / LOCK, blocking=False):
            return False
    except OSError:  # locked, or owned by another user
        return True


def interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float, float]:
    """Compute the mean of independent values and its Student's t confidence interval.

    Args:
        values: at least one.
        level: confidence level, in (0, 1).
    Returns:
        ``(mean, low, high)``; ``(value, nan, nan)`` for a single value, whose spread is unknown.
    """
    n = len(values)
    mean = math.fsum(values) / n
    if n == 1:
        return mean, math.nan, math.nan
    from scipy.special import stdtrit  # imported here to keep `--help` fast

    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    margin = float(stdtrit(n - 1, (1 + level) / 2)) * deviation / math.sqrt(n)
    return mean, mean - margin, mean + margin


def over_seeds(jobs: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Group completed jobs that differ only in ``seed``.

    Args:
        jobs: see `read_jobs`.
    Returns:
        A dict per group, in order of their first jobs, with ``choices`` (without the seed), ``seeds`` (as typed),
        ``jobs`` (its jobs), and ``metrics``: name to ``(mean, low, high)`` of `interval`, for metrics that all jobs of
        the group have.
    """
    groups: dict[tuple, list[dict[str, Any]]] = {}
    for job in jobs:
        if job["status"] == "completed":
            groups.setdefault(tuple(sorted(_without_seed(job).items())), []).append(job)
    return [
        {
            "choices": _without_seed(group[0]),
            "seeds": [job["choices"].get("seed") for job in group],
            "jobs": group,
            "metrics": {
                name: interval([job["metrics"][name] for job in group])
                for name in group[0]["metrics"]
                if all(name in job["metrics"] for job in group)
            },
        }
        for group in groups.values()
    ]


def _without_seed(job: dict[str, Any]) -> dict[str, str]:
    return {key: value for key, value in job["choices"].items() if key != "seed"}


def write_table(folder: Path) -> list[dict[str, Any]]:
    """Write ``sweep.csv`` of a sweep's directory, a row per job; return the jobs."""
    jobs = read_jobs(folder)
    rows = []
    for job in jobs:
        row = {key: job[key] for key in FIRST if key in job} | {"overrides": " ".join(job["overrides"])}
        row |= {key: job["summary"][key] for key in ("state", "rollbacks") if key in job["summary"]}
        rows.append(job["choices"] | row | job["metrics"])
    _write_csv(folder / "sweep.csv", FIRST, rows)
    return jobs


def write_seeds(folder: Path, groups: list[dict[str, Any]]) -> None:
    """Write ``seeds.csv``, a row per group of `over_seeds`: overrides, n, and each metric's mean and interval."""
    rows = []
    for group in groups:
        row = {"n": len(group["jobs"]), "overrides": " ".join(f"{k}={v}" for k, v in group["choices"].items())}
        for name, (mean, low, high) in group["metrics"].items():
            row |= {name: mean, f"{name} low": low, f"{name} high": high}
        rows.append(group["choices"] | row)
    _write_csv(folder / "seeds.csv", ["n", "overrides"], rows)


def _write_csv(path: Path, first: list[str], rows: list[dict[str, Any]]) -> None:
    columns = first + sorted({key for row in rows for key in row} - set(first))
    write_csv(path, columns, rows)

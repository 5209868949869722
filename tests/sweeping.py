"""Run sweeps of `tests/sweep_app.py`, and read their files."""

import csv
import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

APP = [sys.executable, str(ROOT / "tests/sweep_app.py"), "-m"]
CONFIG = [
    "+seed=0",
    "+ckpt_path=null",
    "+optimized_metric=val/l1",
    "hydra.sweep.dir=sweep",
    "hydra.sweep.subdir=${hydra.job.num}",
    "+hydra.callbacks.table._target_=colorize.sweeps.SweepTable",
]


def sweep(folder: Path, *overrides: str, do: str = "") -> subprocess.CompletedProcess:
    """Run a sweep in the directory ``sweep`` of a folder; each job executes ``do``."""
    words = [*APP, *CONFIG, *overrides]
    return subprocess.run(words, cwd=folder, env=environment(do), capture_output=True, text=True, timeout=100)


def environment(do: str = "") -> dict[str, str]:
    """Return an environment in which the program finds this code."""
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "DO": do}


def ran(folder: Path) -> list[str]:
    """List the runs of jobs, in their order."""
    return (folder / "ran").read_text().splitlines()


def rows(path: Path) -> list[dict[str, str]]:
    """Read a CSV file."""
    with path.open() as file:
        return list(csv.DictReader(file))

"""Jobs of a sweep: one failing does not stop the others, and a table keeps them all; imports nothing heavy."""

import csv
import functools
import json
import logging
import math
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from colorize.console import in_one_line, leave
from colorize.files import replacing

log = logging.getLogger(__name__)


def job(task: Callable[[DictConfig], float | None]) -> Callable[[DictConfig], float | None]:
    """Make a task of Hydra's end as the command line should.

    A single run ends with one line and status 2 for a mistake of the user. A job of a sweep records its outcome
    in ``job.json`` and returns NaN where it fails, so that the others run.
    """

    @functools.wraps(task)
    def run(cfg: DictConfig) -> float | None:
        hydra = HydraConfig.get()
        if hydra.mode == RunMode.MULTIRUN:
            return _run_in_sweep(task, cfg, hydra)
        try:
            return task(cfg)
        except Exception as error:
            leave(error)

    return run


def _run_in_sweep(task: Callable[[DictConfig], float | None], cfg: DictConfig, hydra: Any) -> float | None:
    trainer = cfg.get("trainer") or {}  # evaluation has none
    devices = [f"trainer.{key}={trainer[key]}" for key in ("devices", "num_nodes") if trainer.get(key, 1) != 1]
    if devices:
        # Each process of such a job would run the whole sweep again; SystemExit ends it at the first job
        print(f"a sweep's jobs run on one device each; got {' '.join(devices)}", file=sys.stderr)
        raise SystemExit(2)
    record = {"job": hydra.job.num, "overrides": list(hydra.overrides.task), "status": "running"}
    path = Path(hydra.runtime.output_dir) / "job.json"
    _write_json(path, record)
    started = time.perf_counter()
    value, outcome = math.nan, {"status": "interrupted"}
    try:
        value = task(cfg)
        outcome = {"status": "completed"}
    except Exception as error:
        line = in_one_line(error)
        log.error(line or traceback.format_exc())
        outcome = {"status": "failed", "error": line or repr(error)}
    finally:
        _write_json(path, record | outcome | {"seconds": round(time.perf_counter() - started, 2)})
    return value


class SweepTable(Callback):
    """Hydra callback that writes ``sweep.csv`` after every job, and names the failures at the end."""

    def on_job_end(self, config: DictConfig, job_return: Any, **kwargs: Any) -> None:
        """Bring the table up to date."""
        if config.hydra.mode == RunMode.MULTIRUN:
            write_table(Path(config.hydra.sweep.dir))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Write the table once more, for launchers whose jobs ran elsewhere, and tell what failed."""
        folder = Path(config.hydra.sweep.dir)
        rows = write_table(folder)
        bad = [row for row in rows if row["status"] != "completed"]
        for row in bad:
            log.error("job %s (%s) %s: %s", row["job"], row["overrides"], row["status"], row.get("error", ""))
        log.info("%d of %d jobs completed; %s", len(rows) - len(bad), len(rows), folder / "sweep.csv")
        if bad:
            raise SystemExit(1)


def write_table(folder: Path) -> list[dict[str, Any]]:
    """Gather the jobs of a sweep's directory into its ``sweep.csv``; return the rows."""
    rows = []
    for path in folder.glob("*/job.json"):
        job = json.loads(path.read_text())
        summary = path.with_name("summary.json")
        metrics = json.loads(summary.read_text())["metrics"] if summary.exists() else {}
        choices = dict(override.lstrip("+").split("=", 1) for override in job["overrides"] if "=" in override)
        rows.append(job | choices | {"overrides": " ".join(job["overrides"])} | metrics)
    rows.sort(key=lambda row: row["job"])
    first = ["job", "status", "seconds", "overrides", "error"]
    columns = first + sorted({key for row in rows for key in row} - set(first))
    with replacing(folder / "sweep.csv") as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    return rows


def _write_json(path: Path, value: dict[str, Any]) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2))

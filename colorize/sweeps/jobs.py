"""Jobs of a sweep: a failed job does not stop the others, a finished job is skipped; no heavy imports."""

import functools
import json
import logging
import math
import re
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from colorize.base.errors import UserError
from colorize.base.files import write_json
from colorize.console import in_one_line, leave
from colorize.sweeps.requeue import saving_first
from colorize.sweeps.table import FINISHED, LOCK

log = logging.getLogger(__name__)

DATE = re.compile(r"\d{4}-\d\d-\d\d")  # folder names of the default hydra.run.dir


class PrunedError(Exception):
    """A search pruned a run: its score is not promising.

    Args:
        value: last value of the metric.
    """

    def __init__(self, value: float) -> None:
        super().__init__(value)
        self.value = value


def job(task: Callable[[DictConfig], float | None]) -> Callable[[DictConfig], float | None]:
    """Decorate a Hydra task with error reporting and, in a sweep, with job records.

    A single run ends with a one-line message and status 2 after a user error. A job of a sweep records its outcome
    in ``job.json`` and returns NaN if it fails, so that the other jobs run.
    """

    @functools.wraps(task)
    def run(cfg: DictConfig) -> float | None:
        hydra = HydraConfig.get()
        if hydra.mode == RunMode.MULTIRUN:
            return _run_in_sweep(task, cfg, hydra)
        try:
            return task(cfg)
        except Exception as error:
            if in_one_line(error):
                remove_unused(Path(hydra.runtime.output_dir), {hydra.output_subdir, f"{hydra.job.name}.log"})
            leave(error)

    return run


def remove_unused(folder: Path, of_hydra: set[str]) -> None:
    """Remove the directory of a run that a user error ended, if it has only the files that Hydra writes first."""
    if not folder.is_dir() or not {path.name for path in folder.iterdir()} <= of_hydra:
        return
    shutil.rmtree(folder, ignore_errors=True)
    if DATE.fullmatch(folder.parent.name):
        with suppress(OSError):  # not empty if there are other runs
            folder.parent.rmdir()
            folder.parent.parent.rmdir()


def _run_in_sweep(task: Callable[[DictConfig], float | None], cfg: DictConfig, hydra: Any) -> float | None:
    trainer = cfg.get("trainer") or {}  # evaluation has none
    devices = [f"trainer.{key}={trainer[key]}" for key in ("devices", "num_nodes") if trainer.get(key, 1) != 1]
    if devices:
        # Each process of such a job would run the whole sweep again; SystemExit ends the sweep at the first job
        print(f"a sweep's jobs run on one device each; got {' '.join(devices)}", file=sys.stderr)
        raise SystemExit(2)
    folder, overrides = Path(hydra.runtime.output_dir), list(hydra.overrides.task)
    with saving_first(), _alone(folder):
        before = read_record(folder)
        if before:
            try:
                refuse_other(folder, overrides)
            except UserError as error:
                leave(error)
            if before["status"] in (FINISHED | {"failed"} if is_search(hydra.sweeper) else FINISHED):
                log.info("job %s is %s; skipped", hydra.job.num, before["status"])
                return before.get("value")
            if cfg.get("ckpt_path") is None and (folder / "checkpoints" / "last.ckpt").exists():
                cfg.ckpt_path = "last"
        return _run_and_record(task, cfg, folder, {"job": hydra.job.num, "overrides": overrides})


def _run_and_record(
    task: Callable[[DictConfig], float | None], cfg: DictConfig, folder: Path, record: dict[str, Any]
) -> float | None:
    _write_record(folder, record | {"status": "running"})
    started = time.perf_counter()
    outcome: dict[str, Any] = {"status": "interrupted"}
    value = math.nan
    try:
        value = task(cfg)
        outcome = {"status": "completed", "value": value}
    except PrunedError as pruned:
        value = pruned.value
        outcome = {"status": "pruned", "value": value}
        log.info("pruned at %.4f", value)
    except Exception as error:
        line = in_one_line(error)
        log.error(line or traceback.format_exc())
        outcome = {"status": "failed", "error": line or repr(error), "exception": type(error).__name__}
    finally:
        _write_record(folder, record | outcome | {"seconds": round(time.perf_counter() - started, 2)})
    return value


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Lock a job's directory: a worker of a killed sweep may still run the job."""
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        log.info("%s: another process runs this job; waiting for it", folder)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def is_search(sweeper: DictConfig) -> bool:
    """Return whether the sweeper of a Hydra config is the Bayesian search, which learns from failed runs."""
    return sweeper.get("storage") is not None


def read_record(folder: Path) -> dict[str, Any] | None:
    """Return the contents of ``job.json`` in a job's directory; ``None`` if there is none."""
    path = folder / "job.json"
    return json.loads(path.read_text()) if path.exists() else None


def refuse_other(folder: Path, overrides: Sequence[str]) -> None:
    """Check that a directory does not hold another job.

    Raises:
        UserError: if it does; it names the directory and the overrides in which the two differ.
    """
    record = read_record(folder)
    if record and sorted(record["overrides"]) != sorted(overrides):
        raise UserError(f"{folder} holds a job with {difference(record['overrides'], overrides)}")


def difference(there: Sequence[str], here: Sequence[str]) -> str:
    """Describe how the overrides of a directory differ from the typed ones, and what to do."""
    old, new = (
        " ".join(o for o in one if o not in other) or "fewer overrides" for one, other in ((there, here), (here, there))
    )
    return f"{old}, not {new}: choose another hydra.sweep.dir"


def _write_record(folder: Path, record: dict[str, Any]) -> None:
    write_json(folder / "job.json", record)

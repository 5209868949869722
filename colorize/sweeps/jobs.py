"""Jobs of a sweep: one failing does not stop the others; imports nothing heavy."""

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


def _write_json(path: Path, value: dict[str, Any]) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2))

"""Hydra's callback of a sweep: tables of its jobs, and what they came to."""

import logging
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from colorize.sweeps.table import write_table

log = logging.getLogger(__name__)


class SweepTable(Callback):
    """Hydra callback that writes ``sweep.csv`` after every job, and names the failures at the end."""

    def on_job_end(self, config: DictConfig, job_return: Any, **kwargs: Any) -> None:
        """Bring the table up to date."""
        if config.hydra.mode == RunMode.MULTIRUN:
            write_table(Path(config.hydra.sweep.dir))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Write the table once more, for launchers whose jobs ran elsewhere, and tell what failed."""
        folder = Path(config.hydra.sweep.dir)
        jobs = write_table(folder)
        bad = [job for job in jobs if job["status"] != "completed"]
        for job in bad:
            log.error("job %s (%s) %s: %s", job["job"], " ".join(job["overrides"]), job["status"], job.get("error", ""))
        log.info("%d of %d jobs completed; %s", len(jobs) - len(bad), len(jobs), folder / "sweep.csv")
        if bad:
            raise SystemExit(1)

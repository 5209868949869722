"""A logger that keeps one CSV file per run, across interruptions."""

import csv
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from colorize.files import replacing

AXES = ["epoch", "step"]  # first columns; step counts batches from 0


class CsvLogger(Logger):
    """Appends every logged value to one file; a resumed run continues it.

    Lightning's own starts afresh in each process and deletes what it finds.

    Args:
        path: the CSV file.
        resume_step: number of batches that the resumed checkpoint had seen; later rows of an interrupted run
            are dropped. ``None`` starts a new file.
    """

    def __init__(self, path: Path | str, resume_step: int | None = None) -> None:
        super().__init__()
        self.path = Path(path)
        self._rows: list[dict[str, Any]] = []  # not yet in the file
        self._columns: list[str] = []
        old = self._read() if resume_step is not None and self.path.exists() else []
        self._rows = [row for row in old if int(row["step"]) < resume_step]
        self.path.unlink(missing_ok=True)
        self.save()

    @property
    def name(self) -> str:
        """Return the kind of logger."""
        return "csv"

    @property
    def version(self) -> str:
        """Return nothing: there is one file a run."""
        return ""

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Do nothing: Hydra keeps the config beside the file."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add values to the step's row."""
        if not self._rows or self._rows[-1]["step"] != step:
            self._rows.append({"step": step})
        self._rows[-1].update(metrics)

    @rank_zero_only
    def save(self) -> None:
        """Write the rows so far; the file is rewritten only when a column is new."""
        if not self._rows:
            return
        seen = {key for row in self._rows for key in row}
        if seen <= set(self._columns):
            with self.path.open("a", newline="") as file:
                csv.DictWriter(file, self._columns).writerows(self._rows)
        else:
            rows = (self._read() if self.path.exists() else []) + self._rows
            self._columns = AXES + sorted((seen | set(self._columns)) - set(AXES))
            with replacing(self.path) as temporary, temporary.open("w", newline="") as file:
                writer = csv.DictWriter(file, self._columns)
                writer.writeheader()
                writer.writerows(rows)
        self._rows = []

    def finalize(self, status: str) -> None:
        """Write what is left."""
        self.save()

    def _read(self) -> list[dict[str, str]]:
        with self.path.open(newline="") as file:
            return list(csv.DictReader(file))

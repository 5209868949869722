"""A logger that keeps one CSV file per run, across interruptions."""

import csv
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from colorize.base.files import replacing

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
        self._columns: list[str] = []
        self._rows: list[dict[str, Any]] = []  # not in the file yet, or its last row, which may still grow
        self._end = 0  # of the file's finished rows, in bytes
        self._start(resume_step)

    @rank_zero_only
    def _start(self, resume_step: int | None) -> None:
        if resume_step is not None and self.path.exists():
            whole = [row for row in self._read() if (row["step"] or "").isdigit()]  # a killed run may leave half a line
            self._rows = [row | {"step": int(row["step"])} for row in whole if int(row["step"]) < resume_step]
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
        new = {key for row in self._rows for key in row} - set(self._columns)
        if new:
            with replacing(self.path) as temporary:
                finished = self._read()[:-1] if self.path.exists() else []  # the last may have grown
                self._columns = AXES + sorted(({*self._columns} | new) - set(AXES))
                self._rows = finished + self._rows
                self._end = 0
                self._write(temporary)
        elif self._rows:
            self._write(self.path)

    def _write(self, path: Path) -> None:
        with path.open("r+" if self._end else "w", newline="") as file:
            file.seek(self._end)
            writer = csv.DictWriter(file, self._columns)
            if not self._end:
                writer.writeheader()
            writer.writerows(self._rows[:-1])
            self._end = file.tell()
            writer.writerow(self._rows[-1])
            file.truncate()
        del self._rows[:-1]

    def finalize(self, status: str) -> None:
        """Write what is left."""
        self.save()

    def _read(self) -> list[dict[str, str]]:
        with self.path.open(newline="") as file:
            return list(csv.DictReader(file))

"""A logger that writes one CSV file per run, across interruptions."""

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
    """Appends all logged values to one file; a resumed run continues it.

    Lightning's CSVLogger starts a new file in each process and deletes an existing one.

    Args:
        path: the CSV file.
        resume_step: number of batches of the resumed checkpoint; later rows of the interrupted run are dropped.
            ``None`` starts a new file.
    """

    def __init__(self, path: Path | str, resume_step: int | None = None) -> None:
        super().__init__()
        self.path = Path(path)
        self._columns: list[str] = []
        self._rows: list[dict[str, Any]] = []  # rows not in the file yet, and its last row, which may still change
        self._end = 0  # end of the file's finished rows, in bytes
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
        """Return the name of the logger."""
        return "csv"

    @property
    def version(self) -> str:
        """Return an empty string: there is one file per run."""
        return ""

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Do nothing: Hydra saves the config in the run's directory."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add values to the step's row."""
        if not self._rows or self._rows[-1]["step"] != step:
            self._rows.append({"step": step})
        self._rows[-1].update(metrics)

    @rank_zero_only
    def save(self) -> None:
        """Write the rows so far; the file is rewritten only for new columns."""
        new = {key for row in self._rows for key in row} - set(self._columns)
        if new:
            with replacing(self.path) as temporary:
                finished = self._read()[:-1] if self.path.exists() else []  # the last row may have changed
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
        """Write the remaining rows."""
        self.save()

    def _read(self) -> list[dict[str, str]]:
        with self.path.open(newline="") as file:
            return list(csv.DictReader(file))

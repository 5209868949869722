"""One CSV file per run: one row per step, across new columns and interruptions."""

import csv
from pathlib import Path

import pytest

from colorize.tracking.csv_log import CsvLogger


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "metrics.csv"


def test_values_of_a_step_share_a_row_even_when_saved_between(path) -> None:
    logger = CsvLogger(path)
    for metrics, step in [({"a": 1.0}, 0), ({"b": 2.0}, 0), ({"a": 3.0}, 1), ({"b": 4.0}, 1)]:
        logger.log_metrics(metrics, step)
        logger.save()
    assert rows(path) == [
        {"epoch": "", "step": "0", "a": "1.0", "b": "2.0"},
        {"epoch": "", "step": "1", "a": "3.0", "b": "4.0"},
    ]


def test_a_new_column_keeps_the_earlier_rows(path) -> None:
    logger = CsvLogger(path)
    for step in range(4):
        logger.log_metrics({f"m{step}": step}, step)
        logger.save()
    assert [[row[f"m{column}"] for column in range(4)] for row in rows(path)] == [
        ["0", "", "", ""], ["", "1", "", ""], ["", "", "2", ""], ["", "", "", "3"],
    ]  # fmt: skip


def test_a_shorter_value_leaves_nothing_of_the_longer(path) -> None:
    logger = CsvLogger(path)
    for value in (0.123456789, 1):
        logger.log_metrics({"a": value}, 0)
        logger.save()
    assert [row["a"] for row in rows(path)] == ["1"]


def test_a_resumed_run_continues_its_file_and_drops_what_it_repeats(path) -> None:
    logger = CsvLogger(path)
    for step in range(6):
        logger.log_metrics({"a": step}, step)
    logger.finalize("failed")
    resumed = CsvLogger(path, resume_step=4)
    resumed.log_metrics({"a": 40, "new": 1}, 4)
    resumed.finalize("success")
    assert [row["a"] for row in rows(path)] == ["0", "1", "2", "3", "40"]


def test_a_row_that_a_resumed_run_repeats_keeps_nothing_of_the_old_one(path) -> None:
    logger = CsvLogger(path)
    for step in range(3):
        logger.log_metrics({"a": step, "b": step}, step)
    logger.finalize("failed")
    resumed = CsvLogger(path, resume_step=2)
    resumed.log_metrics({"a": 20}, 2)
    resumed.finalize("success")
    assert [(row["a"], row["b"]) for row in rows(path)] == [("0", "0"), ("1", "1"), ("20", "")]


def test_a_resumed_run_without_its_file_starts_one(path) -> None:
    logger = CsvLogger(path, resume_step=4)
    logger.log_metrics({"a": 1}, 4)
    logger.save()
    assert rows(path) == [{"epoch": "", "step": "4", "a": "1"}]


def test_half_a_line_of_a_killed_run_is_dropped(path) -> None:
    path.write_text("epoch,step,a\n0,0,1.5\n0")
    CsvLogger(path, resume_step=4)
    assert rows(path) == [{"epoch": "0", "step": "0", "a": "1.5"}]


def test_a_new_run_starts_a_new_file(path) -> None:
    earlier = CsvLogger(path)
    earlier.log_metrics({"a": 1}, 0)
    earlier.save()
    logger = CsvLogger(path)
    assert not path.exists()
    logger.log_metrics({"b": 2}, 0)
    logger.save()
    assert rows(path) == [{"epoch": "", "step": "0", "b": "2"}]

"""Images per second, and updates of the progress bar."""

import time

import pytest

from colorize.training.callbacks.progress import ProgressBar
from colorize.training.speed import Speed


def test_speed_is_images_over_seconds_since_the_last_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "perf_counter", iter([100.0, 104.0, 110.0, 112.0]).__next__)
    speed = Speed()
    speed.images += 6
    assert speed.rate() == 1.5
    speed.restart()
    speed.images += 1
    assert speed.rate() == 0.5


def test_the_progress_bar_is_redrawn_as_often_as_asked() -> None:
    assert (ProgressBar().refresh_rate, ProgressBar(refresh_rate=2).refresh_rate) == (5, 2)


def test_a_pause_does_not_count(monkeypatch) -> None:
    now = iter([0.0, 2.0, 10.0, 13.0])
    monkeypatch.setattr("colorize.training.speed.time.perf_counter", lambda: next(now))
    speed = Speed()
    speed.images = 20
    speed.pause()
    speed.go_on()
    assert speed.rate() == 20 / (2 + 3)

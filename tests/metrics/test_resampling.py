"""Bootstrap resamples."""

import numpy as np

from colorize.metrics import resampling
from colorize.metrics.resampling import drawn_counts


def test_counts_are_those_of_the_drawn_places() -> None:
    (counts,) = drawn_counts(5, 3, seed=0)
    places = np.random.default_rng(0).integers(5, size=(3, 5))
    assert np.array_equal(counts, [[np.sum(row == image) for image in range(5)] for row in places])


def test_draws_do_not_depend_on_how_many_are_made_at_once(monkeypatch) -> None:
    (whole,) = drawn_counts(7, 10, seed=1)
    monkeypatch.setattr(resampling, "AT_ONCE", 21)
    parts = list(drawn_counts(7, 10, seed=1))
    assert [len(part) for part in parts] == [3, 3, 3, 1]
    assert np.array_equal(np.concatenate(parts), whole)

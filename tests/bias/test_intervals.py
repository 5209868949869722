"""Bootstrap over photographs and rank correlation, against SciPy and values by hand."""

import numpy as np
import pytest
from scipy import stats

from colorize.bias.intervals import Estimate, estimate, rank_correlation, ratio, sums_by


def mean(sums: np.ndarray) -> np.ndarray:
    return sums[..., 0] / sums[..., 1]


def test_the_interval_of_a_mean_is_that_of_scipy() -> None:
    values = np.random.default_rng(1).normal(3, 2, 60)
    found = estimate(np.stack([values, np.ones(60)], 1), range(60), mean, resamples=20_000)
    expected = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=0).confidence_interval
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.02)


def test_photographs_are_drawn_not_things() -> None:
    """Ten copies of each thing in its photograph tell no more than one."""
    values = np.random.default_rng(2).normal(size=(30, 1))
    once = estimate(np.concatenate([values, np.ones((30, 1))], 1), range(30), mean)
    tenfold = estimate(np.concatenate([values, np.ones((30, 1))], 1).repeat(10, 0), np.arange(30).repeat(10), mean)
    assert tenfold == pytest.approx(once)


def test_a_ratio_is_of_sums_not_of_things() -> None:
    rows = np.array([[1.0, 2.0], [3.0, 2.0], [2.0, 4.0]])
    assert estimate(rows, "abc", ratio).value == pytest.approx(6 / 8)


def test_below_five_photographs_there_is_no_interval() -> None:
    rows = np.ones((40, 2))
    assert not estimate(rows, [number % 4 for number in range(40)], ratio).known
    assert estimate(rows, [number % 5 for number in range(40)], ratio) == Estimate(1, 1, 1)
    assert not estimate(rows[:0], [], ratio).known


def test_an_interval_of_angles_goes_round() -> None:
    """Directions around 180 degrees, whose signs differ."""
    angles = np.radians(180 + np.random.default_rng(3).normal(0, 5, 50))
    unit = np.stack([np.cos(angles), np.sin(angles)], 1)
    found = estimate(unit, range(50), lambda sums: np.degrees(np.arctan2(sums[..., 1], sums[..., 0])), period=360)
    assert abs(found.value) == pytest.approx(180, abs=3)
    assert 1 < found.high - found.low < 5 and found.low <= found.value <= found.high


def test_sums_are_those_of_each_photograph() -> None:
    rows = np.array([[1.0, 1], [2, 1], [4, 1]])
    assert sums_by(rows, ["x", "y", "x"]).tolist() == [[5, 2], [2, 1]]


def test_rank_correlation_is_spearmans_with_bonett_and_wrights_interval() -> None:
    x, y = np.arange(20.0), np.random.default_rng(0).permutation(20) + np.arange(20.0)
    found = rank_correlation(x, y)
    assert found.value == pytest.approx(stats.spearmanr(x, y).statistic)
    z, error = np.arctanh(found.value), np.sqrt((1 + found.value**2 / 2) / 17)
    assert np.arctanh([found.low, found.high]) == pytest.approx([z - 1.959964 * error, z + 1.959964 * error])


def test_rank_correlation_of_too_little_is_not_known() -> None:
    assert np.isnan(rank_correlation([1, 2], [1, 2]).value)
    assert np.isnan(rank_correlation([1, 1, 1, 1, 1], [1, 2, 3, 4, 5]).value)
    four = rank_correlation([1, 2, 3, 4], [1, 3, 2, 4])
    assert four.value == pytest.approx(0.8) and not four.known
    assert not rank_correlation([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6]).known


def test_where_many_draws_have_no_value_there_is_no_interval() -> None:
    """Of one photograph in six alone the divisor is not 0: a third of the draws leave it out."""
    rows = np.ones((6, 2))
    rows[1:, 1] = 0
    found = estimate(rows, range(6), ratio)
    assert found.value == 6 and not found.known

"""Estimate values of groups of objects with bootstrap intervals over photographs.

Photographs are resampled rather than objects, because objects in the same photograph are not independent."""

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import norm, spearmanr

from colorize.metrics.resampling import drawn_counts

RESAMPLES = 2000
LEVEL = 0.95
LEAST_PHOTOGRAPHS = 5  # with fewer, a bootstrap interval is meaningless
LEAST_DRAWN = 0.9  # minimum share of resamples that have a value

Statistic = Callable[[np.ndarray], np.ndarray]  # maps sums (..., k) to values (...)


class Estimate(NamedTuple):
    """A value and its 95% confidence interval; NaN if unknown."""

    value: float
    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether the interval is finite."""
        return bool(np.isfinite(self.low) and np.isfinite(self.high))


UNKNOWN = Estimate(np.nan, np.nan, np.nan)


def estimate(
    values: np.ndarray,
    photographs: Sequence[Hashable],
    statistic: Statistic,
    period: float | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Compute a function of sums over objects and its percentile bootstrap interval over photographs.

    Args:
        values: One row per object, ``(n, k)``.
        photographs: Photograph of each object.
        statistic: Function of the sums.
        period: Period of a cyclic value, such as 360 for an angle in degrees.
        resamples: Number of bootstrap resamples.
        seed: Seed of the resamples.
    Returns:
        The value and its interval. The value is NaN without objects. The interval is NaN with fewer than
        ``LEAST_PHOTOGRAPHS`` photographs, or if too many resamples have no value.
    """
    if not len(values):
        return UNKNOWN
    with np.errstate(divide="ignore", invalid="ignore"):
        sums = sums_by(values, photographs)
        value = float(statistic(sums.sum(0)))
        if len(sums) < LEAST_PHOTOGRAPHS or not np.isfinite(value):
            return Estimate(value, np.nan, np.nan)
        drawn = np.concatenate([statistic(counts @ sums) for counts in drawn_counts(len(sums), resamples, seed)])
    if period:
        drawn = value + (drawn - value + period / 2) % period - period / 2
    drawn = drawn[np.isfinite(drawn)]  # undefined, for example, for a ratio of spreads if only one object was drawn
    if len(drawn) < LEAST_DRAWN * resamples:
        return Estimate(value, np.nan, np.nan)
    low, high = np.percentile(drawn, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return Estimate(value, float(low), float(high))


def sums_by(values: np.ndarray, photographs: Sequence[Hashable]) -> np.ndarray:
    """Sum the rows of each photograph, ``(n, k)`` to ``(photographs, k)``."""
    places = {name: place for place, name in enumerate(dict.fromkeys(photographs))}
    sums = np.zeros((len(places), values.shape[1]))
    np.add.at(sums, [places[name] for name in photographs], values)
    return sums


def ratio(sums: np.ndarray) -> np.ndarray:
    """Return the first of two sums divided by the second."""
    return sums[..., 0] / sums[..., 1]


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> Estimate:
    """Return Spearman's rank correlation with the interval of Bonett and Wright 2000 (Psychometrika 65, 23-28).

    The pairs are assumed to be independent. With fewer than 5 pairs there is no interval. Without variation, or with
    fewer than 3 pairs, there is no value.
    """
    if len(x) < 3 or len(set(x)) == 1 or len(set(y)) == 1:
        return UNKNOWN
    rho = float(spearmanr(x, y).statistic)
    if len(x) < 5 or abs(rho) >= 1:
        return Estimate(rho, np.nan, np.nan)
    half = norm.ppf((1 + LEVEL) / 2) * np.sqrt((1 + rho**2 / 2) / (len(x) - 3))
    low, high = np.tanh(np.arctanh(rho) + np.array([-half, half]))
    return Estimate(rho, float(low), float(high))

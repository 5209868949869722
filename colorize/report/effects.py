"""Compute the effect of each factor of a sweep: means of levels, paired differences, and shares of the variance."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import nan

import numpy as np
from scipy import stats

from colorize.sweeps.table import interval

MANY = 6  # a numeric factor with more values is treated as continuous and shown as a scatter plot

Value = str | float
Row = Mapping[str, Value]  # values of the factors and the seed of one run
_Codes = dict[tuple[str, ...], np.ndarray]  # columns of each term, ``(runs, columns)``


@dataclass(frozen=True)
class Factor:
    """An override that has more than one value in the sweep.

    Attributes:
        key: Key, such as ``lr``.
        levels: Values, starting with numbers in ascending order.
        continuous: Whether it is treated as continuous, because it has many numeric values.
    """

    key: str
    levels: tuple[Value, ...]
    continuous: bool


@dataclass(frozen=True)
class Level:
    """Results of the runs with one value of a factor.

    Attributes:
        value: Value of the factor.
        count: Number of runs.
        mean: Mean over the runs.
        low: Lower bound of its interval.
        high: Upper bound of its interval.
        difference: Mean and interval of the difference from the first level, over pairs of runs that are otherwise
            identical; None for the first level, or if there are no pairs.
        pairs: Number of these pairs.
    """

    value: Value
    count: int
    mean: float
    low: float
    high: float
    difference: tuple[float, float, float] | None
    pairs: int


@dataclass(frozen=True)
class Share:
    """Share of a term in the variance.

    Attributes:
        term: Factors; one for a main effect, two for an interaction.
        share: Share of the total sum of squares, in [0, 1].
        freedom: Degrees of freedom of the term.
        p: p-value of the F test; NaN without residual degrees of freedom.
    """

    term: tuple[str, ...]
    share: float
    freedom: int
    p: float


@dataclass(frozen=True)
class Decomposition:
    """The shares of all terms, largest first, and the residual.

    Attributes:
        shares: Shares of main effects and pairwise interactions.
        residual: Unexplained share: seeds, and interactions of three or more factors.
        interactions: Whether interactions are included in the fit.
    """

    shares: tuple[Share, ...]
    residual: float
    interactions: bool


def parse(text: str) -> Value:
    """Convert finite numbers to float, so that ``1e-4`` and ``0.0001`` are the same level."""
    try:
        number = float(text)
    except ValueError:
        return text
    return number if np.isfinite(number) else text


def find_factors(rows: Sequence[Row], keys: Iterable[str]) -> list[Factor]:
    """Return a factor for each key that has more than one value, in the order of keys."""
    factors = []
    for key in keys:
        found = {row[key] for row in rows}
        if len(found) < 2:
            continue
        numbers = sorted(value for value in found if isinstance(value, float))
        words = [value for value in dict.fromkeys(row[key] for row in rows) if isinstance(value, str)]
        factors.append(Factor(key, (*numbers, *words), continuous=len(numbers) > MANY and not words))
    return factors


def main_effect(factor: Factor, factors: Sequence[Factor], rows: Sequence[Row], values: Sequence[float]) -> list[Level]:
    """Return the mean of each level and its difference from the first level, all else equal.

    Args:
        factor: Factor to analyze.
        factors: All factors; runs that agree in the others and in the seed form a pair.
        rows: Levels and seed of each run.
        values: Finite value of the metric for each run.
    """
    others = [other.key for other in factors if other.key != factor.key] + ["seed"]
    alike: dict[tuple, dict[Value, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row, value in zip(rows, values, strict=True):
        alike[tuple(row.get(key) for key in others)][row[factor.key]].append(value)
    first, levels = factor.levels[0], []
    for level in factor.levels:
        own = [value for row, value in zip(rows, values, strict=True) if row[factor.key] == level]
        pairs = [
            float(np.mean(group[level]) - np.mean(group[first]))
            for group in alike.values()
            if level != first and level in group and first in group
        ]
        if own:
            difference = interval(pairs) if pairs else None
            levels.append(Level(level, len(own), *interval(own), difference, len(pairs)))
    return levels


def cell_means(
    first: Factor, second: Factor, rows: Sequence[Row], values: Sequence[float]
) -> dict[tuple[Value, Value], tuple[float, float, float, int]]:
    """Return mean, bounds of the interval and number of runs for every pair of levels that occurs."""
    cells: dict[tuple[Value, Value], list[float]] = defaultdict(list)
    for row, value in zip(rows, values, strict=True):
        cells[row[first.key], row[second.key]].append(value)
    return {cell: (*interval(found), len(found)) for cell, found in cells.items()}


def decompose(factors: Sequence[Factor], rows: Sequence[Row], values: Sequence[float]) -> Decomposition:
    """Decompose the variance by factors: eta squared from a least-squares fit with type II sums of squares.

    The sum of squares of a term is the part it explains beyond all terms that do not contain it. The result is
    therefore independent of the order of the factors and valid for unbalanced designs; the shares need not sum to one.
    Levels are coded one-hot, and continuous factors by rank. Pairwise interactions of factors with levels are included
    if there are enough runs. Terms that are confounded with others have no share and are left out. If all levels ran
    with the same seeds, the F tests use the seed as a block: for one factor with two levels this is the paired t-test.

    Args:
        factors: Factors from `find_factors`.
        rows: Levels and seed of each run.
        values: Finite value of the metric for each run.
    """
    y = np.asarray(values, dtype=np.float64)
    total = float(((y - y.mean()) ** 2).sum()) if len(y) else 0.0
    if not factors or total <= 1e-12 * max(float((y**2).sum()), 1e-300):
        return Decomposition((), 1.0, interactions=False)
    codes = {(factor.key,): _code(factor, rows) for factor in factors}
    leveled = [factor.key for factor in factors if not factor.continuous]
    crossed = {
        (a, b): np.einsum("ni,nj->nij", codes[(a,)], codes[(b,)]).reshape(len(y), -1)
        for a, b in combinations(leveled, 2)
    }
    interactions = bool(crossed) and _fit(codes | crossed, y)[1] < len(y)
    terms = codes | crossed if interactions else codes
    residual = _fit(terms, y)[0]
    seeds = _seeds(rows, terms, y)
    error, rank = _fit(terms | seeds, y)
    left = len(y) - rank
    shares = []
    for term in terms:
        beside = {other: code for other, code in (terms | seeds).items() if not set(term) <= set(other)}
        without, rank_without = _fit(beside, y)
        explained, rank_with = _fit(beside | {term: terms[term]}, y)
        freedom, squares = rank_with - rank_without, max(without - explained, 0.0)
        if freedom:
            if error > 1e-12 * total:
                p = float(stats.f.sf(squares / freedom / (error / left), freedom, left))
            else:  # no residual variance
                p = float(squares <= 1e-12 * total) if left else nan
            shares.append(Share(term, squares / total, freedom, p))
    shares.sort(key=lambda share: -share.share)
    return Decomposition(tuple(shares), residual / total, interactions)


def _code(factor: Factor, rows: Sequence[Row]) -> np.ndarray:
    """Return the columns of a factor, ``(runs, columns)``: one-hot without the first level, or one column of ranks."""
    found = [row[factor.key] for row in rows]
    if factor.continuous:
        return stats.rankdata(found)[:, None] / len(rows)
    return _one_hot(found, factor.levels)


def _one_hot(found: Sequence[Value], levels: Sequence[Value]) -> np.ndarray:
    return np.array([[float(value == level) for level in levels[1:]] for value in found])


def _seeds(rows: Sequence[Row], terms: _Codes, y: np.ndarray) -> _Codes:
    """Return the seed as a term; empty if it is confounded with other terms or no residual degrees remain."""
    found = [row.get("seed", "") for row in rows]
    levels = list(dict.fromkeys(found))
    term = {("seed",): _one_hot(found, levels)}
    rank = _fit(terms | term, y)[1]
    return term if rank == _fit(terms, y)[1] + len(levels) - 1 and rank < len(y) else {}


def _fit(terms: _Codes, y: np.ndarray) -> tuple[float, int]:
    """Return the residual sum of squares of a fit with intercept, and the rank of its columns."""
    design = np.hstack([np.ones((len(y), 1)), *terms.values()])
    solution, _, rank, _ = np.linalg.lstsq(design, y, rcond=None)
    return float(((y - design @ solution) ** 2).sum()), int(rank)

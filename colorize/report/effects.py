"""What each factor of a sweep did: its levels' means, paired differences, and shares of the variance."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import nan

import numpy as np
from scipy import stats

from colorize.sweeps.table import interval

MANY = 6  # a numeric factor with more values than this was drawn, not listed: it is plotted point by point

Value = str | float
Row = Mapping[str, Value]  # one run: the value of each factor, and of the seed
_Codes = dict[tuple[str, ...], np.ndarray]  # of each term, ``(runs, columns)``


@dataclass(frozen=True)
class Factor:
    """An override that has more than one value in the sweep.

    Attributes:
        key: such as ``lr``.
        levels: its values, numbers in their order first.
        continuous: whether it has so many different numbers that they are no levels.
    """

    key: str
    levels: tuple[Value, ...]
    continuous: bool


@dataclass(frozen=True)
class Level:
    """What runs with one value of a factor came to.

    Attributes:
        value: of the factor.
        count: of runs.
        mean: over them, with the ends of its interval, ``low`` and ``high``.
        difference: mean and interval of the difference from the factor's first level, over pairs of runs that are
            alike in all else; ``None`` for the first level, or if there are no pairs.
        pairs: number of these pairs.
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
    """A term's part of the variance.

    Attributes:
        term: the factors, one for a main effect, two for an interaction.
        share: of the total sum of squares, in [0, 1].
        freedom: its degrees of freedom.
        p: probability of so large an F by chance; NaN where no runs are left over to tell.
    """

    term: tuple[str, ...]
    share: float
    freedom: int
    p: float


@dataclass(frozen=True)
class Decomposition:
    """The shares of all terms, largest first, and what they leave.

    Attributes:
        shares: of main effects and pairwise interactions.
        residual: share that no term explains: seeds, and interactions of three factors or more.
        interactions: whether they could be told apart from the residual.
    """

    shares: tuple[Share, ...]
    residual: float
    interactions: bool


def parse(text: str) -> Value:
    """Return a finite number where the text is one, so that ``1e-4`` and ``0.0001`` are one level."""
    try:
        number = float(text)
    except ValueError:
        return text
    return number if np.isfinite(number) else text


def find_factors(rows: Sequence[Row], keys: Iterable[str]) -> list[Factor]:
    """Return those keys that have more than one value in the rows, in their order."""
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
    """Return each level's mean, and how it differs from the first, all else equal.

    Args:
        factor: the one asked about.
        factors: all; runs that agree in the others and in the seed make a pair.
        rows: one a run.
        values: of the metric, finite, one a run.
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
    """Return mean, interval's ends and number of runs for every pair of levels that occurs."""
    cells: dict[tuple[Value, Value], list[float]] = defaultdict(list)
    for row, value in zip(rows, values, strict=True):
        cells[row[first.key], row[second.key]].append(value)
    return {cell: (*interval(found), len(found)) for cell, found in cells.items()}


def decompose(factors: Sequence[Factor], rows: Sequence[Row], values: Sequence[float]) -> Decomposition:
    """Divide the variance among factors: eta squared by least squares, with sums of squares of type II.

    A term's sum of squares is what it explains beyond all terms that do not contain it, so that the order of the
    factors does not matter and an unbalanced design is judged fairly; its shares then need not sum to one. Levels are
    coded one-hot, a continuous factor by its rank. Interactions of pairs of levelled factors take part where runs are
    left over beside them. A term that the design cannot tell from others has no share and is left out. The F tests
    leave aside what seeds explain by themselves where the same seeds ran with all levels: for one factor of two levels
    that is the paired t-test.

    Args:
        factors: from `find_factors`.
        rows: one a run.
        values: of the metric, finite, one a run.
    """
    y = np.asarray(values, dtype=np.float64)
    total = float(((y - y.mean()) ** 2).sum()) if len(y) else 0.0
    if not factors or total <= 1e-12 * max(float((y**2).sum()), 1e-300):
        return Decomposition((), 1.0, interactions=False)
    codes = {(factor.key,): _code(factor, rows) for factor in factors}
    levelled = [factor.key for factor in factors if not factor.continuous]
    crossed = {
        (a, b): np.einsum("ni,nj->nij", codes[(a,)], codes[(b,)]).reshape(len(y), -1)
        for a, b in combinations(levelled, 2)
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
            else:  # no noise at all
                p = float(squares <= 1e-12 * total) if left else nan
            shares.append(Share(term, squares / total, freedom, p))
    shares.sort(key=lambda share: -share.share)
    return Decomposition(tuple(shares), residual / total, interactions)


def _code(factor: Factor, rows: Sequence[Row]) -> np.ndarray:
    """Return ``(runs, columns)``: one-hot without the first level, or one column of ranks."""
    found = [row[factor.key] for row in rows]
    if factor.continuous:
        return stats.rankdata(found)[:, None] / len(rows)
    return _one_hot(found, factor.levels)


def _one_hot(found: Sequence[Value], levels: Sequence[Value]) -> np.ndarray:
    return np.array([[float(value == level) for level in levels[1:]] for value in found])


def _seeds(rows: Sequence[Row], terms: _Codes, y: np.ndarray) -> _Codes:
    """Return the seeds as a term; nothing where that would take freedom from other terms, or leave no run over."""
    found = [row.get("seed", "") for row in rows]
    levels = list(dict.fromkeys(found))
    term = {("seed",): _one_hot(found, levels)}
    rank = _fit(terms | term, y)[1]
    return term if rank == _fit(terms, y)[1] + len(levels) - 1 and rank < len(y) else {}


def _fit(terms: _Codes, y: np.ndarray) -> tuple[float, int]:
    """Return the residual sum of squares of a fit with a constant, and the rank of its columns."""
    design = np.hstack([np.ones((len(y), 1)), *terms.values()])
    solution, _, rank, _ = np.linalg.lstsq(design, y, rcond=None)
    return float(((y - design @ solution) ** 2).sum()), int(rank)

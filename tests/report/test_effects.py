"""The effect of each factor, against values computed by hand and by other programs."""

import math

import numpy as np
import pytest
from scipy import stats

from colorize.report.effects import cell_means, decompose, find_factors, main_effect, parse


def table(*lines: tuple) -> tuple[list, list, list]:
    """Return factors, rows and values of lines ``a, b, seed, value``."""
    rows = [{"a": a, "b": b, "seed": seed} for a, b, seed, _ in lines]
    return find_factors(rows, ["a", "b"]), rows, [value for *_, value in lines]


BALANCED = [(a, b, s, 10 * a + b + s) for a in (1.0, 2.0, 3.0) for b in (0.0, 4.0) for s in (0, 1)]


def test_numbers_are_read_as_numbers_and_sorted_as_such() -> None:
    assert parse("1e-4") == parse("0.0001") == 1e-4
    assert parse("[0.5,0.999]") == "[0.5,0.999]" and parse("nan") == "nan"
    (factor,) = find_factors([{"lr": parse(text)} for text in ("1e-3", "2e-4", "10", "auto")], ["lr"])
    assert factor.levels == (2e-4, 1e-3, 10.0, "auto") and not factor.continuous


def test_one_value_is_no_factor() -> None:
    assert find_factors([{"a": 1.0}, {"a": 1.0}], ["a"]) == []


def test_many_numbers_are_continuous() -> None:
    (factor,) = find_factors([{"a": float(value)} for value in range(10)], ["a"])
    assert factor.continuous


def test_marginal_means_by_hand() -> None:
    factors, rows, values = table(*BALANCED)
    first, second, third = main_effect(factors[0], factors, rows, values)
    assert [level.mean for level in (first, second, third)] == [12.5, 22.5, 32.5]  # 10a + mean of 0, 1, 4, 5
    assert (first.count, first.difference, first.pairs) == (4, None, 0)
    assert second.difference == pytest.approx((10, 10, 10)) and second.pairs == 4


def test_interval_of_a_paired_difference_is_the_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=6), rng.normal(size=6)
    factors, rows, values = table(
        *[("x", 0, s, v) for s, v in enumerate(x)], *[("y", 0, s, v) for s, v in enumerate(y)]
    )
    level = main_effect(factors[0], factors, rows, values)[1]
    low, high = stats.ttest_rel(y, x).confidence_interval()
    assert level.difference == pytest.approx(((y - x).mean(), low, high))


def test_runs_without_a_partner_make_no_pair() -> None:
    factors, rows, values = table((1.0, 0.0, 0, 5.0), (1.0, 4.0, 0, 6.0), (2.0, 4.0, 0, 9.0))
    level = main_effect(factors[0], factors, rows, values)[1]
    assert level.pairs == 1 and level.difference[0] == 3.0 and math.isnan(level.difference[1])


def test_cells_by_hand() -> None:
    factors, rows, values = table(*BALANCED)
    mean, low, high, count = cell_means(*factors, rows, values)[2.0, 4.0]
    margin = stats.t.ppf(0.975, 1) * np.std([24, 25], ddof=1) / math.sqrt(2)
    assert (mean, count) == (24.5, 2) and (low, high) == pytest.approx((24.5 - margin, 24.5 + margin))


def test_shares_of_an_additive_table_by_hand() -> None:
    factors, rows, values = table(*BALANCED)
    found = decompose(factors, rows, values)
    # sums of squares: a 4 x (100 + 0 + 100), b 12 x 2^2, seeds 12 x 0.5^2, and nothing that is left
    shares = {share.term: share.share for share in found.shares}
    assert found.interactions and found.residual == pytest.approx(3 / 851)
    assert shares == pytest.approx({("a",): 800 / 851, ("b",): 48 / 851, ("a", "b"): 0}, abs=1e-12)
    assert [share.freedom for share in found.shares] == [2, 1, 2]


def test_an_interaction_by_hand() -> None:
    factors, rows, values = table(*[(a, b, s, a * b + s) for a in (-1.0, 1.0) for b in (-1.0, 1.0) for s in (-1, 1)])
    shares = {share.term: share.share for share in decompose(factors, rows, values).shares}
    assert shares == pytest.approx({("a", "b"): 0.5, ("a",): 0, ("b",): 0}, abs=1e-12)


def test_one_factor_is_the_f_test_of_scipy() -> None:
    rng = np.random.default_rng(1)
    groups = [rng.normal(mean, size=size) for mean, size in ((0, 4), (1, 6), (3, 5))]
    lines = [(f"g{g}", 0, f"{g}-{s}", v) for g, group in enumerate(groups) for s, v in enumerate(group)]
    factors, rows, values = table(*lines)  # no seed is shared
    (share,) = decompose(factors, rows, values).shares
    f, p = stats.f_oneway(*groups)
    assert share.p == pytest.approx(p)
    assert share.share == pytest.approx(f * 2 / (f * 2 + 12))  # eta squared from F and its degrees of freedom


def test_two_levels_with_the_same_seeds_are_the_paired_t_test() -> None:
    rng = np.random.default_rng(3)
    seeds = rng.normal(scale=10, size=5)  # a hundred times the noise: unpaired, nothing could be told
    x, y = seeds + rng.normal(scale=0.1, size=5), seeds + 0.6 + rng.normal(scale=0.1, size=5)
    factors, rows, values = table(*[(a, 0, s, v) for a, own in (("x", x), ("y", y)) for s, v in enumerate(own)])
    found = decompose(factors, rows, values)
    assert found.shares[0].p == pytest.approx(stats.ttest_rel(x, y).pvalue) and found.shares[0].p < 0.05
    assert stats.ttest_ind(x, y).pvalue > 0.9
    squares = 10 * ((x.mean() - y.mean()) / 2) ** 2 / ((np.array(values) - np.mean(values)) ** 2).sum()
    assert (found.shares[0].share, found.residual) == pytest.approx((squares, 1 - squares))


def test_three_levels_with_the_same_seeds_are_a_randomized_block_design_by_hand() -> None:
    cells = np.random.default_rng(4).normal(size=(3, 4))  # levels, seeds
    factors, rows, values = table(*[(f"g{g}", 0, s, cells[g, s]) for g in range(3) for s in range(4)])
    levels, seeds = cells.mean(1, keepdims=True), cells.mean(0, keepdims=True)
    error = ((cells - levels - seeds + cells.mean()) ** 2).sum()
    f = 4 * ((levels - cells.mean()) ** 2).sum() / 2 / (error / 6)
    assert decompose(factors, rows, values).shares[0].p == pytest.approx(stats.f.sf(f, 2, 6))


def test_without_noise_an_effect_is_certain_and_none_is_none() -> None:
    p = {share.term: share.p for share in decompose(*table(*BALANCED)).shares}
    assert p == {("a",): 0, ("b",): 0, ("a", "b"): 1}


def test_unbalanced_by_hand() -> None:
    # y = a + b exactly, and a and b go together: what b cannot tell of a has squares of 2/3, what a cannot of b 1/2
    factors, rows, values = table((0.0, 0.0, 0, 0.0), (0.0, 0.0, 1, 0.0), (1.0, 0.0, 0, 1.0), (1.0, 1.0, 0, 2.0))
    shares = {share.term: share.share for share in decompose(factors, rows, values).shares}
    assert shares == pytest.approx({("a",): (2 / 3) / 2.75, ("b",): 0.5 / 2.75})


def test_the_order_of_factors_does_not_matter() -> None:
    rng = np.random.default_rng(2)
    lines = [(float(rng.integers(3)), float(rng.integers(2)), s, rng.normal()) for s in range(30)]
    factors, rows, values = table(*lines)
    one, other = decompose(factors, rows, values), decompose(factors[::-1], rows, values)
    expected = {frozenset(share.term): share.share for share in one.shares}
    assert {frozenset(share.term): share.share for share in other.shares} == pytest.approx(expected)


def test_without_runs_to_spare_interactions_are_left_out() -> None:
    factors, rows, values = table(*[(a, b, 0, a + b + a * b) for a in (0.0, 1.0, 2.0) for b in (0.0, 1.0)])
    found = decompose(factors, rows, values)
    assert not found.interactions and found.residual > 0 and all(len(share.term) == 1 for share in found.shares)


def test_a_continuous_factor_counts_by_its_rank() -> None:
    factors, rows, values = table(*[(10.0**k, 0, 0, float(k)) for k in range(8)])
    (share,) = decompose(factors, rows, values).shares
    assert share.share == pytest.approx(1) and share.freedom == 1


def test_equal_values_have_no_shares() -> None:
    factors, rows, _ = table(*BALANCED)
    found = decompose(factors, rows, [0.1] * len(rows))
    assert found.shares == () and found.residual == 1.0

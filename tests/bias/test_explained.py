"""Variance explained by lightness and category, against a prediction written out pixel by pixel."""

import numpy as np
import pytest

from colorize.bias.categories import explained_by
from colorize.bias.explained import errors, explained, lightness_sums
from colorize.bias.survey import DataSurvey


def pixels(seed: int, count: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    L = rng.uniform(0, 100, count)
    return L, rng.normal(size=(2, count)) * 8 + np.stack([0.3 * L, -0.1 * L]) + rng.normal(size=(2, 1)) * 5


def test_sums_are_by_twenty_steps_of_lightness() -> None:
    sums = lightness_sums(np.array([0.0, 4.9, 5.0, 100.0]), np.array([[1.0, 2, 3, 4], [0, 1, 0, 2]]))
    assert sums[[0, 1, 19]].tolist() == [[2, 3, 1, 6], [1, 3, 0, 9], [1, 4, 2, 20]] and sums[2:19].sum() == 0


def test_each_photograph_is_predicted_from_the_others() -> None:
    photographs = [pixels(seed) for seed in range(4)]
    expected = []
    for left, (L, ab) in enumerate(photographs):
        others = [each for place, each in enumerate(photographs) if place != left]
        other_L, other_ab = np.concatenate([o[0] for o in others]), np.concatenate([o[1] for o in others], 1)
        error = 0.0
        for value, color in zip(L, ab.T, strict=True):
            error += ((color - other_ab[:, other_L // 5 == value // 5].mean(1)) ** 2).sum()
        expected.append(error)
    assert errors(np.stack([lightness_sums(*each) for each in photographs])) == pytest.approx(expected, rel=1e-4)


def test_what_no_other_photograph_has_takes_the_mean_of_the_others() -> None:
    dark = lightness_sums(np.array([2.0]), np.array([[9.0], [1.0]]))
    light = lightness_sums(np.array([60.0, 70.0]), np.array([[2.0, 4], [0, 0]]))
    found = errors(np.stack([dark, light]))
    assert found.tolist() == pytest.approx([(9 - 3) ** 2 + 1, (2 - 9) ** 2 + (4 - 9) ** 2 + 2])


def test_the_share_is_one_less_the_ratio_of_errors() -> None:
    assert explained(np.array([30.0, 120.0])) == pytest.approx(0.75)


def survey_of(color) -> DataSurvey:
    """Look at 12 photographs with things of two categories, whose ab is a function of category and lightness."""
    data, rng = DataSurvey(), np.random.default_rng(0)
    for number in range(12):
        data.whole[number] = np.zeros((20, 4), np.float32)
        for category in ("car", "tree"):
            L = rng.uniform(0, 100, 500)
            data.within[category][number] = lightness_sums(L, color(category, L) + rng.normal(size=(2, 500)))
            data.whole[number] += data.within[category][number]
    return data


def test_colors_that_follow_lightness_are_explained_by_lightness() -> None:
    found = explained_by(survey_of(lambda category, L: np.stack([0.5 * L, 0 * L])))
    assert found["lightness"].value > 0.97 and found["whole"].value > 0.97 and found["both"].value > 0.97
    assert abs(found["category"].value) < 0.01


def test_colors_that_follow_the_category_are_explained_by_it() -> None:
    found = explained_by(survey_of(lambda category, L: np.full((2, len(L)), 20.0 * (category == "car"))))
    assert found["category"].value > 0.97 and found["both"].value > 0.97
    assert abs(found["lightness"].value) < 0.02


def test_together_they_explain_what_neither_does() -> None:
    found = explained_by(survey_of(lambda category, L: np.where(L > 50, 1, -1) * (30.0 if category == "car" else -30)))
    assert found["both"].value > 0.97 and found["lightness"].value < 0.05 and found["category"].value < 0.05


def test_a_category_of_one_photograph_takes_the_mean_of_all_things_elsewhere() -> None:
    data, rng = DataSurvey(), np.random.default_rng(0)
    for number in range(12):
        category = "tree" if number == 11 else "car"
        ab = np.array([[20.0], [0.0]]) + rng.normal(size=(2, 500))
        data.within[category][number] = data.whole[number] = lightness_sums(rng.uniform(0, 100, 500), ab)
    assert explained_by(data)["both"].value == pytest.approx(0, abs=0.05)

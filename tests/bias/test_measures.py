"""Color measures of a method: known changes of color give known values."""

import numpy as np
import pytest
import torch
from skimage.color import deltaE_ciede2000, rgb2lab

from colorize.bias.measures import ABOUT, MEASURES, centered, measured
from colorize.bias.regions import LEAST, Truth, columns, error_maps, measure_output, measure_truth
from colorize.bias.things import SIDE
from colorize.metrics.regions import border_jump
from colorize.srgb import lab
from tests.conftest import colorful_image


def things(count: int = 30, seed: int = 0) -> dict[str, np.ndarray]:
    """Make a thing in each of some photographs, of random mean colors."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(10, 12, count), rng.normal(5, 9, count)
    rows = [
        Truth(n, f"{n}.png", n, "car", 400, 50, *each, 3.0)
        for n, each in enumerate(zip(a, b, np.hypot(a, b), strict=True))
    ]
    return columns(rows)


def output(truth: dict, a: np.ndarray, b: np.ndarray, jump: float = 1.5) -> dict[str, np.ndarray]:
    distance = np.hypot(a - truth["a"], b - truth["b"])
    return {"a": a, "b": b, "chroma": np.hypot(a, b), "error": distance, "delta_e": distance / 2, "jump": 0 * a + jump}


def values(truth: dict, found: dict) -> dict[str, float]:
    return {name: estimate.value for name, estimate in measured(truth, found).items()}


def test_half_the_chroma() -> None:
    truth = things()
    found = values(truth, output(truth, truth["a"] / 2, truth["b"] / 2))
    assert found["chroma_ratio"] == pytest.approx(0.5) and found["relative_error"] == pytest.approx(0.5)
    assert found["diversity_ratio"] == pytest.approx(0.5) and found["followed"] == pytest.approx(0.5)
    assert found["hue_shift"] == pytest.approx(0, abs=1e-9) and found["jump_ratio"] == pytest.approx(0.5)
    assert found["chroma_shift"] == pytest.approx(-truth["chroma"].mean() / 2)
    assert found["grey_error"] == pytest.approx(truth["chroma"].mean())
    assert found["delta_e"] == pytest.approx(truth["chroma"].mean() / 4)


def test_every_thing_in_one_color() -> None:
    truth = things()
    found = values(truth, output(truth, np.full(30, truth["a"].mean()), np.full(30, truth["b"].mean())))
    assert found["diversity_ratio"] == 0 and found["followed"] == pytest.approx(0, abs=1e-9)
    assert found["a_shift"] == pytest.approx(0, abs=1e-9)


def test_spread_without_following_is_told_apart() -> None:
    """Other things' colors are as diverse as the truth, and wrong."""
    truth = things(4000)
    order = np.random.default_rng(1).permutation(4000)
    found = values(truth, output(truth, truth["a"][order], truth["b"][order]))
    assert found["diversity_ratio"] == pytest.approx(1) and abs(found["followed"]) < 0.05


def test_a_turn_of_hue_keeps_its_sign() -> None:
    truth = things()
    turned = np.exp(1j * np.radians(-70)) * (truth["a"] + 1j * truth["b"])
    found = values(truth, output(truth, turned.real, turned.imag))
    assert found["hue_shift"] == pytest.approx(-70) and found["chroma_ratio"] == pytest.approx(1)


def test_a_shift_to_blue() -> None:
    truth = things()
    found = measured(truth, output(truth, truth["a"], truth["b"] - 4))
    assert found["b_shift"] == pytest.approx((-4, -4, -4)) and found["a_shift"].value == pytest.approx(0)
    assert found["error"].value == pytest.approx(4)


def test_diversity_is_numpys_spread_and_following_its_slope() -> None:
    truth, other = things(25), things(25, seed=5)
    found = values(truth, output(truth, other["a"], other["b"]))
    spread = [np.cov(each["a"], each["b"]).trace() for each in (other, truth)]
    assert found["diversity_ratio"] == pytest.approx(np.sqrt(spread[0] / spread[1]))
    products = sum(np.cov(truth[axis], other[axis])[0, 1] for axis in "ab")
    assert found["followed"] == pytest.approx(products / spread[1])


def test_things_without_an_outline_do_not_count_for_spill() -> None:
    truth = things()
    truth["jump"] = truth["jump"].copy()
    truth["jump"][:10] = np.nan
    found = output(truth, truth["a"], truth["b"])
    found["jump"][5:15] = np.nan
    assert values(truth, found)["jump_ratio"] == pytest.approx(0.5)


def test_centered_colors_have_no_mean_in_any_category() -> None:
    truth = things()
    categories = np.array(["car", "dog", "dog"] * 10)
    found = centered(truth, categories)
    for name in ("car", "dog"):
        own = categories == name
        assert found["a"][own].mean() == pytest.approx(0) and np.ptp(found["b"][own]) == pytest.approx(
            np.ptp(truth["b"][own])
        )


def test_means_inside_a_mask_are_those_of_skimage() -> None:
    picture, colored = (np.asarray(colorful_image(seed, SIDE, SIDE)) for seed in (0, 1))
    mask = np.zeros((SIDE, SIDE), bool)
    mask[30:90, 40:160] = True
    mask[50:60, 100:110] = False
    true, other = rgb2lab(picture), rgb2lab(colored)
    joined = np.concatenate([true[..., :1], other[..., 1:]], -1)
    pixels, L, a, b, chroma, jump = measure_truth(mask, lab(picture))
    assert pixels == mask.sum() and np.isnan(jump)
    assert (L, a, b) == pytest.approx(tuple(true[mask].mean(0)), abs=2e-3)
    assert chroma == pytest.approx(np.hypot(*true[mask][:, 1:].T).mean(), abs=2e-3)
    found = measure_output(mask, error_maps(lab(picture), lab(colored)[1:]))
    assert (found.a, found.b) == pytest.approx(tuple(other[mask].mean(0)[1:]), abs=2e-3)
    assert found.error == pytest.approx(np.linalg.norm((other - true)[mask][:, 1:], axis=1).mean(), abs=2e-3)
    assert found.delta_e == pytest.approx(deltaE_ciede2000(true, joined)[mask].mean(), abs=2e-3)


@pytest.mark.parametrize("box", [(30, 90, 40, 160), (0, 50, 0, 60), (200, 256, 3, 256)])
def test_the_jump_is_that_of_the_whole_picture(box) -> None:
    ab = lab(np.asarray(colorful_image(3, SIDE, SIDE)))[1:]
    mask = np.zeros((SIDE, SIDE), bool)
    top, bottom, left, right = box
    mask[top:bottom, left:right] = np.random.default_rng(0).random((bottom - top, right - left)) < 0.9
    expected = border_jump(torch.from_numpy(ab.copy()), torch.from_numpy(mask), 6).item()
    colors = np.concatenate([ab[:1], ab])
    assert measure_truth(mask, colors, band=6)[-1] == pytest.approx(expected, rel=1e-4)


def test_what_fills_the_picture_has_no_outline() -> None:
    mask = np.ones((SIDE, SIDE), bool)
    mask[:2, : LEAST // 4] = False
    assert np.isnan(measure_truth(mask, np.zeros((3, SIDE, SIDE), np.float32), band=4)[-1])


def test_every_measure_says_what_it_is() -> None:
    assert set(ABOUT) == set(MEASURES)

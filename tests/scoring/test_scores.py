"""Each score of a picture, against scikit-image or a value computed by hand."""

import numpy as np
import pytest
import torch
from skimage.color import deltaE_ciede2000, lab2xyz, rgb2lab
from skimage.color.colorconv import xyz_from_rgb
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from colorize.metrics.distribution import chroma_spread, hue_distance
from colorize.scoring.pictures import Colored, Truth, joined
from colorize.scoring.scores import CURVES, GAINS, SCORES, curves_of, scores_of
from colorize.srgb import lab
from tests.conftest import colorful_image


def picture(seed: int, side: int = 64) -> np.ndarray:
    return np.asarray(colorful_image(seed, side, side))


def truth_of(pixels: np.ndarray) -> Truth:
    return Truth(np.ascontiguousarray(pixels.transpose(2, 0, 1)), pixels.shape[:2], "")


def as_is(pixels: np.ndarray) -> Colored:
    own = lab(pixels)
    return Colored(own[0], own[1:], np.ascontiguousarray(pixels.transpose(2, 0, 1)), 0.0)


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    """Two pictures, unlike in lightness, too."""
    return picture(0), picture(1)


def colorfulness(pixels: np.ndarray, absolute: bool) -> float:
    red, green, blue = np.moveaxis(pixels.astype(float), -1, 0)
    rg, yb = red - green, (red + green) / 2 - blue
    if absolute:
        rg, yb = abs(rg), abs(yb)
    return np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean())


def test_pictures_as_they_are_score_as_scikit_image_has_it(pair) -> None:
    true, other = pair
    found = scores_of(truth_of(true), as_is(other))
    true_lab, other_lab = rgb2lab(true), rgb2lab(other)
    expected = {
        "l1": np.abs(true_lab - other_lab)[..., 1:].mean() / 110,
        "psnr": peak_signal_noise_ratio(true, other),
        "ssim": structural_similarity(true, other, channel_axis=2),
        "delta_e": deltaE_ciede2000(true_lab, other_lab).mean(),
        "colorfulness": colorfulness(other, absolute=False),
        "colorfulness_abs": colorfulness(other, absolute=True),
        "target_colorfulness": colorfulness(true, absolute=False),
        "target_colorfulness_abs": colorfulness(true, absolute=True),
        "chroma_spread": other_lab[..., 1:].var((0, 1)).sum() ** 0.5,
        "target_chroma_spread": true_lab[..., 1:].var((0, 1)).sum() ** 0.5,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=2e-4)


def test_every_score_is_there(pair) -> None:
    assert set(scores_of(truth_of(pair[0]), as_is(pair[1]))) == set(SCORES)


def test_the_truths_lightness_is_joined_with_the_methods_chroma(pair) -> None:
    true, other = pair
    colored = joined(truth_of(true), lab(other)[1:])
    mixed = np.concatenate([rgb2lab(true)[..., :1], rgb2lab(other)[..., 1:]], axis=2)
    with np.errstate(invalid="ignore"):
        linear = lab2xyz(mixed) @ np.linalg.inv(xyz_from_rgb).T
    encoded = np.where(linear > 0.0031308, 1.055 * np.clip(linear, 0, None) ** (1 / 2.4) - 0.055, 12.92 * linear)
    expected = np.clip(encoded * 255, 0, 255).round()
    assert np.abs(colored.rgb.transpose(1, 2, 0) - expected).max() <= 1
    outside = ((encoded < -0.5 / 255) | (encoded > 1 + 0.5 / 255)).any(2)
    assert colored.outside == pytest.approx(outside.mean(), abs=0.002) and colored.outside > 0.05


def test_the_truths_own_colors_give_the_truth(pair) -> None:
    truth = truth_of(pair[0])
    assert (joined(truth, truth.lab[1:]).rgb == truth.rgb).all()


def test_a_picture_of_one_window_has_its_scores_on_its_curve() -> None:
    truth, ab = truth_of(picture(2, 7)), lab(picture(3, 7))[1:]
    curves, reference = curves_of(truth, joined(truth, ab))
    assert reference == pytest.approx(truth.colorfulness)
    for at in (0, 3, 5):
        scores = scores_of(truth, joined(truth, ab * np.float32(GAINS[at])))
        for name in CURVES:
            assert curves[name][at] == pytest.approx(scores[name], rel=1e-4), name


def test_gains_hold_one_and_are_three_an_octave() -> None:
    assert GAINS[3] == 1 and GAINS[0] == 0.5 and GAINS[-1] == 8
    assert np.diff(np.log2(GAINS)) == pytest.approx(1 / 3)


def test_a_curve_is_near_the_scores_of_the_whole_picture() -> None:
    truth = truth_of(picture(4, 256))
    colored = joined(truth, 0.6 * truth.lab[1:])
    curves, _ = curves_of(truth, colored)
    scores = scores_of(truth, colored)
    assert {name: curves[name][3] for name in ("l1", "colorfulness_abs", "delta_e")} == pytest.approx(
        {name: scores[name] for name in ("l1", "colorfulness_abs", "delta_e")}, rel=0.05
    )


def flat(a: float, b: float) -> torch.Tensor:
    return torch.tensor([a, b], dtype=torch.float32).view(1, 2, 1, 1).expand(1, 2, 4, 4)


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [
        (flat(30, 0.1), flat(60, 0.2), 0),  # the same hue, more of it
        (flat(30, 0.1), flat(0.1, 30), 1),
        (flat(0, 0.5), flat(30, 0), 1),  # without colors
        (flat(0, 0.5), flat(0.5, 0), 0),
        (torch.cat([flat(30, 1), flat(1, 10)], 2), flat(30, 1), 0.25),  # a quarter of the chroma is elsewhere
    ],
)
def test_hue_distance_by_hand(one, two, expected) -> None:
    assert hue_distance(one, two).item() == pytest.approx(expected, abs=0.002)
    assert hue_distance(two, one).item() == pytest.approx(expected, abs=0.002)


def test_hues_on_both_sides_of_red_are_neighbors_not_one() -> None:
    assert hue_distance(flat(30, 0.1), flat(30, -0.1)).item() == 1


def test_the_spread_of_two_colors_is_half_their_distance() -> None:
    both = torch.cat([flat(3, 4), flat(-3, -4)], 2)
    assert chroma_spread(both).item() == pytest.approx(5)
    assert chroma_spread(flat(3, 4)).item() == 0

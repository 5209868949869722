"""Colour maths against scikit-image."""

import numpy as np
import pytest
import torch
from skimage.color import lab2rgb, rgb2lab

from colorize.lab import l_ab_to_lab, l_ab_to_rgb, out_of_gamut, rgb_to_l_ab, to_uint8


@pytest.fixture
def rgb() -> torch.Tensor:
    return torch.rand(2, 3, 16, 20, generator=torch.Generator().manual_seed(0))


def test_rgb_to_l_ab_matches_skimage(rgb) -> None:
    lab = torch.from_numpy(rgb2lab(rgb.double().permute(0, 2, 3, 1).numpy())).permute(0, 3, 1, 2).float()
    L, ab = rgb_to_l_ab(rgb)
    torch.testing.assert_close(L, lab[:, :1] / 50 - 1, atol=1e-5, rtol=0)
    torch.testing.assert_close(ab, lab[:, 1:] / 110, atol=1e-5, rtol=0)


def test_l_ab_to_rgb_matches_skimage(rgb) -> None:
    L, ab = rgb_to_l_ab(rgb)
    lab = l_ab_to_lab(L, ab).double().permute(0, 2, 3, 1).numpy()
    expected = torch.from_numpy(lab2rgb(lab)).permute(0, 3, 1, 2).float()
    torch.testing.assert_close(l_ab_to_rgb(L, ab), expected, atol=1e-4, rtol=0)


def test_every_8_bit_colour_survives_the_round_trip() -> None:
    levels = torch.arange(0, 256, 5, dtype=torch.uint8)
    colors = torch.cartesian_prod(levels, levels, levels).T.reshape(1, 3, len(levels), -1)
    assert torch.equal(to_uint8(l_ab_to_rgb(*rgb_to_l_ab(colors.float() / 255))), colors)


def test_conversion_stays_in_float32_under_autocast(rgb) -> None:
    expected = rgb_to_l_ab(rgb)[1]
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(rgb_to_l_ab(rgb)[1], expected)


@pytest.mark.parametrize(
    "bad", [torch.zeros(1, 3, 4, 4, dtype=torch.uint8), torch.zeros(3, 4, 4), torch.zeros(1, 1, 4, 4)]
)
def test_wrong_input_says_what_was_expected(bad) -> None:
    with pytest.raises(ValueError, match=r"expected \(B, 3, H, W\) float"):
        rgb_to_l_ab(bad)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="expected L"):
        l_ab_to_rgb(torch.zeros(1, 1, 4, 4), torch.zeros(1, 2, 4, 5))


def test_real_colours_are_in_gamut(rgb) -> None:
    assert not out_of_gamut(*rgb_to_l_ab(rgb)).any()


def test_a_colour_that_srgb_lacks_is_out_of_gamut() -> None:
    L, ab = torch.zeros(1, 1, 1, 1), torch.tensor([-100.0, -100.0]).view(1, 2, 1, 1) / 110  # L* 50: no such cyan
    assert (lab2rgb(np.array([[[50.0, -100.0, -100.0]]])) == 0).any()  # scikit-image clips it
    assert out_of_gamut(L, ab).all()

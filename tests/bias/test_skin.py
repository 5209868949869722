"""The skin rule against scikit-image's YCbCr, and bands of lightness against values computed by hand."""

import numpy as np
import pytest
from skimage.color import rgb2lab, rgb2ycbcr

from colorize.bias.skin import ITA_BANDS, LIGHTNESS_BANDS, in_band, is_skin, typology_angle


def test_skin_is_a_range_of_cb_and_cr_of_bt_601() -> None:
    values = np.stack(np.meshgrid(*[np.arange(0, 256, 5)] * 3), -1).reshape(-1, 3).astype(np.uint8)
    _, cb, cr = rgb2ycbcr(values).T
    L = rgb2lab(values)[:, 0]
    expected = (cb >= 77) & (cb <= 127) & (cr >= 133) & (cr <= 173) & (L >= 15) & (L <= 95)
    edge = np.minimum.reduce([abs(cb - 77), abs(cb - 127), abs(cr - 133), abs(cr - 173), abs(L - 15), abs(L - 95)])
    clear = edge > 0.01  # float32 may decide otherwise on the edge itself
    found = np.array([is_skin(np.tile(value, (3, 3, 1)), np.ones((3, 3), bool)).all() for value in values[clear][::7]])
    assert np.array_equal(found, expected[clear][::7])


@pytest.mark.parametrize("shade", [(255, 224, 196), (224, 172, 140), (161, 102, 70), (92, 58, 44), (60, 38, 30)])
def test_light_and_dark_skin_both_count(shade) -> None:
    picture = np.tile(np.uint8(shade), (8, 8, 1))
    assert is_skin(picture, np.ones((8, 8), bool)).all()


@pytest.mark.parametrize("shade", [(128, 128, 128), (40, 60, 120), (30, 110, 40), (5, 2, 1)])
def test_grey_blue_green_and_black_do_not(shade) -> None:
    picture = np.tile(np.uint8(shade), (8, 8, 1))
    assert not is_skin(picture, np.ones((8, 8), bool)).any()


def test_skin_lies_inside_the_mask_and_fills_squares() -> None:
    picture = np.tile(np.uint8((224, 172, 140)), (16, 16, 1))
    mask = np.zeros((16, 16), bool)
    mask[2:7, 3:9] = True
    mask[10, 10:15] = True  # a line one pixel wide
    expected = mask.copy()
    expected[10] = False
    assert np.array_equal(is_skin(picture, mask), expected)


def test_the_typology_angle_has_its_values_by_hand() -> None:
    found = typology_angle(np.array([60.0, 50.0, 40.0, 70.0]), np.array([10.0, 12.0, 10.0, -1.0]))
    assert found[:3] == pytest.approx([45, 0, -45]) and np.isnan(found[3])


@pytest.mark.parametrize("bands", [LIGHTNESS_BANDS, ITA_BANDS])
def test_each_value_is_in_one_band(bands) -> None:
    values = np.linspace(-90, 100, 400)
    assert np.stack([in_band(values, band) for band in bands]).sum(0).tolist() == [1] * 400
    assert not any(in_band(np.array([np.nan]), band).any() for band in bands)

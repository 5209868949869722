"""Color conversion in NumPy, against scikit-image."""

import numpy as np
import pytest
from skimage.color import lab2rgb, rgb2lab

from colorize.srgb import join, lab, lightness, share_within

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8)
GREYS = np.arange(256, dtype=np.uint8)[None]


def planes(lab: np.ndarray) -> list[np.ndarray]:
    return [plane.astype(np.float32) for plane in np.moveaxis(lab, -1, 0)]


@pytest.mark.parametrize("pixels", [RGB, RGB.astype(np.uint16) * 257, RGB / 255], ids=["uint8", "uint16", "float"])
def test_lightness_matches_skimage(pixels) -> None:
    assert np.abs(lightness(pixels) - rgb2lab(RGB)[..., 0]).max() < 1e-3


@pytest.mark.parametrize(
    "pixels", [GREYS, GREYS.astype(np.uint16) * 257, GREYS / 255], ids=["uint8", "uint16", "float"]
)
def test_lightness_of_grey_matches_skimage(pixels) -> None:
    assert np.abs(lightness(pixels) - rgb2lab(np.repeat(GREYS[..., None], 3, 2))[..., 0]).max() < 1e-3


def test_lab_matches_skimage() -> None:
    assert np.abs(lab(RGB) - np.moveaxis(rgb2lab(RGB), -1, 0)).max() < 0.01


def test_join_undoes_skimage() -> None:
    pixels, limited = join(*planes(rgb2lab(RGB)), np.uint8)
    assert np.array_equal(pixels, RGB) and limited == 0


def test_join_matches_skimage_in_every_type() -> None:
    L, a, b = planes(rgb2lab(RGB))
    expected = lab2rgb(np.stack([L, a / 2, b / 2], axis=-1))
    for dtype, top in ((np.uint8, 255), (np.uint16, 65535), (np.float32, 1)):
        pixels, _ = join(L, a / 2, b / 2, dtype)
        assert pixels.dtype == dtype
        assert np.abs(pixels / top - expected).max() < 0.55 / 255


def test_grey_without_chroma_stays_as_it_is() -> None:
    L = lightness(GREYS)
    pixels, limited = join(L, np.zeros_like(L), np.zeros_like(L), np.uint8)
    assert np.array_equal(pixels, np.repeat(GREYS[..., None], 3, 2)) and limited == 0


def test_join_rounds_to_the_nearest_16_bit_level() -> None:
    L, a, b = planes(rgb2lab(RGB))
    pixels, _ = join(L, a / 2, b / 2, np.uint16)
    error = pixels - 65535 * lab2rgb(np.stack([L, a / 2, b / 2], axis=-1).astype(np.float64))
    assert np.abs(error).max() < 0.55 and np.abs(error.mean()) < 0.02  # rounding is off by up to 0.5, float32 by 0.01


@pytest.mark.parametrize(("beyond", "level"), [(0.47, 0), (0.53, 1)])
def test_join_rounds_to_the_nearest_8_bit_level(beyond, level) -> None:
    levels = np.arange(250)
    encoded = (levels + beyond) / 255
    L = rgb2lab(np.repeat(encoded[None, :, None], 3, 2))[..., 0].astype(np.float32)
    pixels, _ = join(L, np.zeros_like(L), np.zeros_like(L), np.uint8)
    assert np.array_equal(pixels[..., 1][0], levels + level)


@pytest.mark.parametrize("base", [0.0, 1.0])
@pytest.mark.parametrize(("levels", "limited"), [(0.4, 0), (0.6, 1)])
def test_chroma_is_limited_half_a_level_beyond_the_ends(base, levels, limited) -> None:
    beyond = base + levels / 255 * (1 if base else -1)
    assert join(*planes(rgb2lab(np.array([[[0.5, beyond, 0.5]]]))), np.uint8)[1] == limited


@pytest.fixture(scope="module")
def wild() -> tuple[np.ndarray, ...]:
    """Return lightness with far more chroma than sRGB has, and what came of it."""
    L = lightness(RGB)
    a, b = RNG.uniform(-110, 110, (2, *L.shape)).astype(np.float32)
    pixels, limited = join(L, a, b, np.float32)
    return L, a, b, rgb2lab(pixels.astype(np.float64)), limited


def test_lightness_outlives_the_gamut(wild) -> None:
    L, _, _, lab, limited = wild
    assert 0.5 < limited / L.size < 1
    assert np.abs(lab[..., 0] - L).max() < 0.25  # half an 8-bit level, which is how far beyond sRGB a channel may be


def test_hue_outlives_the_gamut(wild) -> None:
    _, a, b, lab, _ = wild
    turned = np.angle((lab[..., 1] + 1j * lab[..., 2]) * np.conj(a + 1j * b))
    chroma = np.hypot(lab[..., 1], lab[..., 2])
    assert (np.abs(turned) * chroma).max() < 1.5  # Lab units across: what that half level makes


def test_no_more_chroma_is_taken_than_must_be(wild) -> None:
    L, a, b, lab, _ = wild
    kept = np.hypot(lab[..., 1], lab[..., 2]) / np.hypot(a, b)
    more = lab2rgb(np.stack([L, a * (kept + 0.03), b * (kept + 0.03)], axis=-1).astype(np.float64))
    outside = np.abs(rgb2lab(more) - np.stack([L, a * (kept + 0.03), b * (kept + 0.03)], axis=-1)).max(axis=-1) > 0.05
    assert outside[kept < 0.95].mean() > 0.99  # scikit-image clips what is beyond sRGB, so it does not come back


def test_share_within_is_the_largest_that_sRGB_shows(wild) -> None:
    L, a, b, _, _ = wild
    share = share_within(L, a, b)
    assert share.min() >= 0 and share.max() < 1
    for more, changed in ((-0.01, 0.0), (0.03, 0.99)):  # scikit-image clips what is beyond sRGB, so it does not return
        asked = np.stack([L, a * (share + more), b * (share + more)], axis=-1).astype(np.float64)
        outside = np.abs(rgb2lab(lab2rgb(asked)) - asked).max(axis=-1) > 0.5 * (more < 0) + 0.05
        assert np.isclose(outside[share < 0.95].mean(), changed, atol=0.01)

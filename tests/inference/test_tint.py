"""Toned prints are distinguished from color photographs and neutralized; tints come from other formulas or by hand."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps
from skimage.color import lab2rgb, rgb2lab

from colorize.inference import Colorizer, Options
from colorize.inference.painting import ArrayPicture
from colorize.inference.tint import Untinted, is_toned, untinted
from colorize.photos.photo import photo_of
from colorize.scenes.dataset import draw_scene
from tests.conftest import colorful_image
from tests.inference.test_colorizer import Stub

SEPIA = np.array([[0.393, 0.769, 0.189], [0.349, 0.686, 0.168], [0.272, 0.534, 0.131]])  # W3C, Filter Effects, sepia()
GREY = np.asarray(ImageOps.autocontrast(colorful_image(0, 320, 240).convert("L"), cutoff=2))  # with black and white


def sepia(grey: np.ndarray) -> np.ndarray:
    """Tone a picture of levels from 0 to 255 as browsers do."""
    return np.clip(grey[..., None].repeat(3, axis=-1) @ SEPIA.T, 0, 255).round().astype(np.uint8)


def multiplied(grey: np.ndarray, color: tuple[int, int, int] = (255, 235, 180)) -> np.ndarray:
    """Lay a color over a picture."""
    return (grey[..., None] * (np.array(color) / 255)).round().astype(np.uint8)


def yellowed(grey: np.ndarray) -> np.ndarray:
    """Fade and stain a print, more on its right side; add grain, and save it as a scanner does."""
    toward = np.linspace(0, 1, grey.shape[1])[:, None]
    paper = (1 - toward) * [245, 232, 190] + toward * [235, 212, 160]
    grain = np.random.default_rng(0).normal(0, 6, grey.shape)[..., None]
    file = io.BytesIO()
    stained = 25 + (grey[..., None] + grain) * (paper - 25) / 255
    Image.fromarray(stained.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=75)
    return np.asarray(Image.open(file))


def neutral(pixels: np.ndarray, **options) -> np.ndarray:
    """Return the levels of the result without chroma."""
    return Colorizer(Stub()).colorize(pixels, strength=0, **options)[..., 1]


def test_the_neutral_tones_of_a_sepia_picture_come_back_within_rounding() -> None:
    assert np.abs(neutral(sepia(GREY)).astype(int) - GREY).max() <= 1


def test_the_neutral_tones_below_a_filter_come_back_exactly() -> None:
    assert np.array_equal(neutral(multiplied(GREY)), GREY)


def test_a_picture_without_white_is_not_brightened() -> None:
    dark = (GREY * 0.7).astype(np.uint8)
    assert np.array_equal(neutral(multiplied(dark)), dark)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_a_picture_of_another_type_comes_back_as_well(dtype) -> None:
    scale = 257 if dtype == np.uint16 else 1 / 255
    found = neutral((sepia(GREY) * np.float64(scale)).astype(dtype))
    assert found.dtype == dtype and np.abs(found / scale - GREY).max() < 1


def test_the_network_sees_the_neutral_tones() -> None:
    class Seeing(Stub):
        def __call__(self, L: np.ndarray) -> np.ndarray:
            self.seen = L
            return super().__call__(L)

    toned, plain = Seeing(), Seeing()
    Colorizer(toned).colorize(sepia(GREY))
    Colorizer(plain).colorize(GREY)
    assert np.abs(toned.seen - plain.seen).max() < 0.015  # two levels, of bicubic overshoot that sepia has clipped


@pytest.mark.parametrize(
    "pixels",
    [
        np.asarray(colorful_image(1, 320, 240)),
        draw_scene(0, 1, 256).rgb,
        GREY,
        np.repeat(GREY[..., None], 3, axis=2),
        multiplied(GREY, (160, 200, 255)),  # as a sky
        multiplied(GREY, (255, 254, 250)),
        multiplied(GREY, (255, 140, 40)),
    ],
    ids=["colors", "scene", "grey", "grey in three channels", "blue", "hardly tinted", "in colored light"],
)
def test_other_pictures_are_left_as_they_are(pixels) -> None:
    source = ArrayPicture(pixels)
    assert untinted(source, "auto") is source


def test_two_tints_of_one_hue_are_no_toned_print() -> None:
    weak, strong = multiplied(GREY), multiplied(GREY, (255, 200, 120))
    both = np.concatenate([weak[:, :160], strong[:, 160:]], axis=1)
    assert [is_toned(pixels) for pixels in (weak, strong, both)] == [True, True, False]


@pytest.mark.parametrize(("distance", "toned"), [(2.3, True), (2.7, False)])
def test_the_spread_of_color_around_its_tone_decides(distance, toned) -> None:
    L, side = np.meshgrid(np.linspace(30, 80, 120), [-1, 1] * 60, indexing="ij")
    pixels = 255 * lab2rgb(np.stack([L, np.full_like(L, 6), 20 + distance * side], axis=-1))
    assert is_toned(pixels.round().astype(np.uint8)) == toned


def test_uneven_stains_grain_and_compression_do_not_hide_a_print() -> None:
    large = np.asarray(Image.fromarray(GREY).resize((1024, 768), Image.Resampling.BICUBIC))
    assert isinstance(untinted(ArrayPicture(yellowed(large)), "auto"), Untinted)


def test_kept_tints_keep_their_lightness() -> None:
    lightness = rgb2lab(neutral(sepia(GREY), tint="keep")[..., None].repeat(3, axis=-1))[..., 0]
    assert np.abs(lightness - rgb2lab(sepia(GREY))[..., 0]).max() < 0.3


def test_any_tint_is_removed_when_asked() -> None:
    blue = multiplied(GREY, (120, 180, 255))  # its blue is dimmed least
    assert np.array_equal(neutral(blue, tint="remove"), GREY)
    source = ArrayPicture(GREY)
    assert untinted(source, "remove") is source


def test_photographs_are_noted_as_toned() -> None:
    photos = [photo_of(Image.fromarray(pixels)) for pixels in (sepia(GREY), np.asarray(colorful_image(1)))]
    for grey, photo in zip((True, False), photos, strict=True):
        list(Colorizer(Stub()).colorize_photos([photo], Options()))
        assert photo.notes == (["a toned print: its tint is removed"] if grey else [])

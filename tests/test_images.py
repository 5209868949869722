"""Every format and mode is read as the correct RGB; every bad file raises one error that names it."""

import numpy as np
import pytest
from PIL import Image

from colorize.images import ImageError, is_near_grey, read_rgb
from tests.conftest import colorful_image


def test_rgb_is_unchanged(tmp_path) -> None:
    colorful_image(0).save(tmp_path / "x.png")
    assert np.array_equal(read_rgb(tmp_path / "x.png"), colorful_image(0))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr"])
def test_every_mode_becomes_rgb(tmp_path, mode) -> None:
    path = tmp_path / ("x.tif" if mode in ("CMYK", "YCbCr") else "x.png")
    settings = {"compression": "jpeg"} if mode == "YCbCr" else {}  # Pillow 12 misreads its own plain one
    colorful_image(0).convert(mode).save(path, **settings)
    assert (read_rgb(path).mode, read_rgb(path).size) == ("RGB", (48, 40))


@pytest.mark.parametrize("suffix", ["bmp", "gif", "jpg", "png", "ppm", "tif", "webp"])
def test_every_format_is_read(tmp_path, suffix) -> None:
    colorful_image(0).save(tmp_path / f"x.{suffix}")
    assert read_rgb(tmp_path / f"x.{suffix}").size == (48, 40)


def test_16_bit_grey_is_scaled_not_saturated(tmp_path) -> None:
    Image.fromarray(np.array([[0, 32768, 65535]], dtype=np.uint16)).save(tmp_path / "x.png")
    assert np.asarray(read_rgb(tmp_path / "x.png"))[0, :, 0].tolist() == [0, 128, 255]


def test_transparency_is_laid_on_white(tmp_path) -> None:
    Image.new("RGBA", (2, 2), (255, 0, 0, 0)).save(tmp_path / "x.png")
    assert read_rgb(tmp_path / "x.png").getpixel((0, 0)) == (255, 255, 255)


def test_exif_rotation_is_applied(tmp_path) -> None:
    image = colorful_image(0)
    exif = image.getexif()
    exif[0x0112] = 6  # turned by 90 degrees
    image.save(tmp_path / "x.jpg", exif=exif)
    assert read_rgb(tmp_path / "x.jpg").size == (40, 48)


def test_animation_gives_its_first_frame(tmp_path) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:])
    assert read_rgb(tmp_path / "x.gif").getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("name", "content"),
    [("empty.jpg", b""), ("page.jpg", b"<html>not found</html>"), ("noise.png", bytes(range(256)))],
)
def test_a_file_that_is_no_image_is_named(tmp_path, name, content) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError, match=name):
        read_rgb(tmp_path / name)


def test_a_truncated_image_is_named(tmp_path) -> None:
    colorful_image(0, 300, 300).save(tmp_path / "x.jpg")
    content = (tmp_path / "x.jpg").read_bytes()
    (tmp_path / "x.jpg").write_bytes(content[: len(content) // 2])
    with pytest.raises(ImageError, match=r"x\.jpg: .*truncated"):
        read_rgb(tmp_path / "x.jpg")


def test_a_missing_file_is_named(tmp_path) -> None:
    with pytest.raises(ImageError, match=r"gone\.jpg: no such file"):
        read_rgb(tmp_path / "gone.jpg")


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    colorful_image(0).save(tmp_path / "x.png")
    with pytest.raises(ImageError, match="over 0 megapixels"):
        read_rgb(tmp_path / "x.png")


def test_grey_is_near_grey_and_color_is_not() -> None:
    assert is_near_grey(np.asarray(colorful_image(0).convert("L").convert("RGB")))
    assert not is_near_grey(np.asarray(colorful_image(0)))

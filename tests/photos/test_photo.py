"""Photographs keep their format, metadata, profile and transparency."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin
from skimage.color import rgb2lab

from colorize.images import ImageError
from colorize.photos.photo import Photo, name_for, photo_of, read_photo, write_photo
from colorize.scenes.dataset import draw_scene
from tests.conftest import colorful_image

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def gamma_profile(space: bytes = b"RGB ") -> bytes:
    """Make a profile of sRGB's primaries, or of grey, with a plain power of 1.8 for its curve."""
    tags = {b"wtpt": _xyz(0.9642, 1.0, 0.8249), b"desc": _text(b"power"), b"cprt": _text(b"none")}
    curve = b"curv" + bytes(4) + (1).to_bytes(4, "big") + round(1.8 * 256).to_bytes(2, "big") + bytes(2)
    if space == b"RGB ":
        tags |= {b"rXYZ": _xyz(0.4361, 0.2225, 0.0139), b"gXYZ": _xyz(0.3851, 0.7169, 0.0971)}
        tags |= {b"bXYZ": _xyz(0.1431, 0.0606, 0.7141), b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
    else:
        tags |= {b"kTRC": curve}
    table, data, offset = b"", b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += name + (offset + len(data)).to_bytes(4, "big") + len(content).to_bytes(4, "big")
        data += content
    header = bytearray(128)
    header[8:12], header[12:24], header[36:40] = b"\2\x40\0\0", b"mntr" + space + b"XYZ ", b"acsp"
    header[68:80] = _xyz(0.9642, 1.0, 0.8249)[8:]
    whole = len(tags).to_bytes(4, "big") + table + data
    header[:4] = (128 + len(whole)).to_bytes(4, "big")
    return bytes(header) + whole


def _xyz(*values: float) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(round(value * 65536).to_bytes(4, "big") for value in values)


def _text(text: bytes) -> bytes:
    return b"desc" + bytes(4) + (len(text) + 1).to_bytes(4, "big") + text + bytes(1 + 8 + 70)


def through(path: Path, folder: Path) -> tuple[Photo, Image.Image]:
    """Read a photograph and write it again, as if its own colors were those predicted."""
    photo = read_photo(path)
    target = folder / "out" / name_for(path, photo)
    write_photo(photo, photo.finished(photo.pixels.convert("RGB")), target)
    with Image.open(target) as written:
        written.load()
    return photo, written


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "bmp", "ppm", "tga", "jp2", "avif"])
def test_a_format_that_holds_color_stays(tmp_path, suffix) -> None:
    colorful_image(0).save(tmp_path / f"x.{suffix}")
    with Image.open(tmp_path / f"x.{suffix}") as given:
        photo, written = through(tmp_path / f"x.{suffix}", tmp_path)
        assert (written.format, written.size, written.mode) == (given.format, given.size, "RGB")
    assert name_for(tmp_path / f"x.{suffix}", photo) == f"x.{suffix}"


@pytest.mark.parametrize(
    ("name", "format_", "expected"),
    [
        ("x.gif", "GIF", "x.gif.png"),
        ("x.ico", "ICO", "x.ico.png"),
        ("x.jpg", "PNG", "x.jpg.png"),
        ("X.JPG", "JPEG", "X.JPG"),
    ],
)
def test_the_name_says_what_is_written(tmp_path, name, format_, expected) -> None:
    colorful_image(0).convert("P" if format_ == "GIF" else "RGB").save(tmp_path / name, format_)
    assert name_for(tmp_path / name, read_photo(tmp_path / name)) == expected


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "I;16", "F", "LAB", "I"])
def test_every_mode_keeps_its_lightness(tmp_path, mode) -> None:
    grey = np.linspace(0, 255, 40, dtype=np.uint8)[None].repeat(8, axis=0)
    image = Image.fromarray(grey)
    if mode == "LAB":
        image = ImageCms.profileToProfile(
            image.convert("RGB"), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
        )
    elif mode in ("I;16", "I", "F"):
        dtype, scale = {"I;16": ("u2", 257), "I": ("i4", 257), "F": ("f4", 1)}[mode]
        image = Image.fromarray(grey.astype(dtype) * np.array(scale, dtype))
    elif mode == "P":
        image = image.quantize(256)
    elif mode == "1":
        image, grey = image.convert("1", dither=Image.Dither.NONE), (grey > 127).astype(np.uint8) * 255
    else:
        image = image.convert("RGB").convert(mode)
    photo = photo_of(image)
    block = photo.block((0, 0, 40, 8)).astype(float) / (257 if photo.pixels.mode == "I;16" else 1)
    assert np.abs(block - (grey if block.ndim == 2 else grey[..., None])).max() <= 2
    assert photo.small((20, 4)).dtype == np.uint8


@pytest.mark.parametrize(
    ("mode", "suffix"), [("RGBA", "png"), ("LA", "png"), ("RGBA", "webp"), ("RGBA", "tif"), ("P", "png")]
)
def test_transparency_stays(tmp_path, mode, suffix) -> None:
    image = colorful_image(0).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size).point(lambda value: 255 * (value > 100)))
    given = image.convert(mode)
    if mode == "P":
        given = image.quantize(64)
    given.save(tmp_path / f"x.{suffix}", **({"lossless": True} if suffix == "webp" else {}))
    with Image.open(tmp_path / f"x.{suffix}") as read:
        expected = np.asarray(read.convert("RGBA"))[..., 3]
    _, written = through(tmp_path / f"x.{suffix}", tmp_path)
    assert written.mode == "RGBA"
    assert np.array_equal(np.asarray(written)[..., 3], expected)


def test_what_is_transparent_is_white_to_the_network() -> None:
    image = Image.new("LA", (8, 8), (0, 0))
    assert photo_of(image).small((4, 4)).min() == 255


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_exif_and_resolution_stay_and_the_rotation_is_done(tmp_path, suffix) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "a camera", 6  # maker; orientation: turned by a quarter
    image = colorful_image(0, 48, 40)
    image.save(tmp_path / f"x.{suffix}", exif=exif, dpi=(300, 300))
    _, written = through(tmp_path / f"x.{suffix}", tmp_path)
    kept = written.getexif()
    assert kept[0x010F].strip("\0") == "a camera" and kept.get(0x0112, 1) == 1
    assert written.size == (40, 48)
    if suffix != "webp":  # which has no place for it
        assert written.info["dpi"] == pytest.approx((300, 300), abs=0.1)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "avif"])
def test_xmp_stays_without_the_rotation_that_is_done(tmp_path, suffix) -> None:
    xmp = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6" dc:title="ü"/></x:xmpmeta>"""
    exif = Image.Exif()
    exif[0x0112] = 6
    more = {"xmp": xmp.encode()}
    if suffix == "png":
        more = {"pnginfo": PngImagePlugin.PngInfo()}
        more["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp)
    elif suffix == "tif":
        more, exif = {"tiffinfo": {700: xmp.encode(), 0x0112: 6}}, None
    colorful_image(0, 48, 40).save(tmp_path / f"x.{suffix}", **more, **({"exif": exif} if exif else {}))
    photo, written = through(tmp_path / f"x.{suffix}", tmp_path)
    kept = written.info.get("xmp") or written.info["XML:com.adobe.xmp"].encode()
    assert kept.decode() in (xmp.replace(' tiff:Orientation="6"', " "), xmp.replace('tiff:Orientation="6"', ""))
    assert written.size == (40, 48) and photo.notes == []


def test_damaged_exif_is_told_and_left_out(tmp_path) -> None:
    colorful_image(0).save(tmp_path / "x.png", exif=b"Exif\0\0" + b"no TIFF header" * 3)
    photo, written = through(tmp_path / "x.png", tmp_path)
    assert photo.notes == ["its EXIF is damaged and is left out"] and not written.getexif()


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_an_srgb_profile_stays(tmp_path, suffix) -> None:
    colorful_image(0).save(tmp_path / f"x.{suffix}", icc_profile=SRGB)
    _, written = through(tmp_path / f"x.{suffix}", tmp_path)
    assert written.info["icc_profile"] == SRGB


def test_another_profile_is_heeded_and_stays(tmp_path) -> None:
    image = colorful_image(0)
    image.save(tmp_path / "x.png", icc_profile=gamma_profile())
    photo, written = through(tmp_path / "x.png", tmp_path)
    given = ImageCms.ImageCmsProfile(io.BytesIO(gamma_profile()))
    expected = ImageCms.profileToProfile(image, given, ImageCms.createProfile("sRGB"), 1)  # relative colorimetric
    assert np.abs(photo.block((0, 0, 48, 40)).astype(int) - np.asarray(expected)).max() <= 1
    assert np.abs(np.asarray(photo.pixels).astype(int) - np.asarray(image)).max() > 10  # the profile makes a difference
    assert written.info["icc_profile"] == gamma_profile()
    assert np.abs(np.asarray(written).astype(int) - np.asarray(image)).mean() < 1


def test_a_grey_profile_is_heeded_and_becomes_srgb(tmp_path) -> None:
    Image.new("L", (4, 4), 128).save(tmp_path / "x.png", icc_profile=gamma_profile(b"GRAY"))
    photo, written = through(tmp_path / "x.png", tmp_path)
    linear = (128 / 255) ** 1.8
    assert photo.block((0, 0, 1, 1)).mean() == pytest.approx(255 * (1.055 * linear ** (1 / 2.4) - 0.055), abs=1.5)
    assert b"sRGB" in written.info["icc_profile"] or written.info["icc_profile"][16:20] == b"RGB "


@pytest.mark.parametrize("profile", [b"no profile", gamma_profile(b"GRAY"), gamma_profile()[:200]])
def test_a_profile_that_does_not_fit_is_told_and_left_out(tmp_path, profile) -> None:
    image = colorful_image(0)
    image.save(tmp_path / "x.png", icc_profile=profile)
    photo, written = through(tmp_path / "x.png", tmp_path)
    assert np.array_equal(np.asarray(photo.pixels), np.asarray(image))
    assert "icc_profile" not in written.info
    assert photo.notes == ["its ICC profile does not match the image and is left out"]


def test_an_animation_gives_its_first_frame_and_a_word(tmp_path) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue", "green")]
    frames[0].save(tmp_path / "x.webp", save_all=True, append_images=frames[1:], lossless=True)
    photo, written = through(tmp_path / "x.webp", tmp_path)
    assert photo.notes == ["3 frames; the first is colored"]
    assert np.abs(np.asarray(written).reshape(-1, 3).mean(axis=0) - (255, 0, 0)).max() < 3


def test_a_lossless_webp_stays_lossless(tmp_path) -> None:
    image = colorful_image(0)
    image.save(tmp_path / "x.webp", lossless=True)
    assert np.array_equal(np.asarray(through(tmp_path / "x.webp", tmp_path)[1]), np.asarray(image))


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "packbits"])
def test_a_tiff_keeps_its_lossless_compression(tmp_path, compression) -> None:
    colorful_image(0).save(tmp_path / "x.tif", compression=compression)
    assert through(tmp_path / "x.tif", tmp_path)[1].info["compression"] == compression


def test_a_bilevel_tiff_is_compressed_without_loss(tmp_path) -> None:
    colorful_image(0).convert("1").save(tmp_path / "x.tif", compression="group4")
    assert through(tmp_path / "x.tif", tmp_path)[1].info["compression"] == "tiff_adobe_deflate"


def test_a_picture_too_wide_for_its_format_becomes_png(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("colorize.photos.photo.SIDE_LIMITS", {"WEBP": 40})
    colorful_image(0).save(tmp_path / "x.webp")
    assert name_for(tmp_path / "x.webp", read_photo(tmp_path / "x.webp")) == "x.webp.png"


def test_a_program_is_not_run(tmp_path) -> None:
    (tmp_path / "x.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(ImageError, match="EPS is a program, not pixels"):
        read_photo(tmp_path / "x.eps")


def saved_grey(picture: Image.Image, path: Path) -> np.ndarray:
    """Return what a format does to L* of the grey picture by itself, at quality 95."""
    picture.convert("L").save(path, quality=95)
    with Image.open(path) as saved:
        return np.abs(rgb2lab(np.asarray(saved.convert("RGB")))[..., 0] - lightness_of(picture.convert("L")))


def lightness_of(image: Image.Image) -> np.ndarray:
    return rgb2lab(np.asarray(image.convert("RGB")))[..., 0]


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_lightness_is_lost_as_by_the_format_on_the_grey_picture(tmp_path, suffix) -> None:
    worst, own = [], []
    for number in range(4):
        picture = Image.fromarray(draw_scene(0, number, 256).rgb)  # with hard edges between strong colors
        picture.convert("L").save(tmp_path / f"x.{suffix}", quality=95)
        photo = read_photo(tmp_path / f"x.{suffix}")
        write_photo(photo, picture, tmp_path / f"y.{suffix}")
        with Image.open(tmp_path / f"y.{suffix}") as written:
            own.append(np.abs(lightness_of(written) - lightness_of(picture)))
        worst.append(saved_grey(picture, tmp_path / f"z.{suffix}"))
    own, worst = np.stack(own), np.stack(worst)
    assert own.max() <= 1.5 * worst.max() and np.quantile(own, 0.999) <= 1.2 * np.quantile(worst, 0.999)


def test_the_quality_can_be_chosen(tmp_path) -> None:
    picture = Image.fromarray(draw_scene(0, 0, 128).rgb)
    sizes = {}
    for suffix in ("jpg", "webp", "avif"):
        picture.convert("L").save(tmp_path / f"x.{suffix}")
        for quality in (30, None, 100):
            photo = read_photo(tmp_path / f"x.{suffix}", quality)
            write_photo(photo, picture, tmp_path / f"y.{suffix}")
            sizes[quality] = (tmp_path / f"y.{suffix}").stat().st_size
        assert sizes[30] < sizes[None] < sizes[100]


def test_a_transparent_webp_keeps_its_colors_and_alpha(tmp_path) -> None:
    picture = Image.fromarray(draw_scene(0, 0, 128).rgb).convert("RGBA")
    picture.putalpha(Image.linear_gradient("L").resize(picture.size).point(lambda value: 255 * (value > 100)))
    picture.save(tmp_path / "x.webp", quality=95)
    write_photo(read_photo(tmp_path / "x.webp"), picture, tmp_path / "y.webp")
    with Image.open(tmp_path / "y.webp") as written:
        assert np.array_equal(np.asarray(written)[..., 3], np.asarray(picture)[..., 3])
        seen = np.asarray(picture)[..., 3] > 0
        assert np.abs(lightness_of(written) - lightness_of(picture))[seen].mean() < 1

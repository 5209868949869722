"""A problem with one photograph affects only its own line: frames, profiles and metadata of real files."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, TiffImagePlugin
from skimage.color import rgb2lab

from benchmarks.corpora import power_profile
from colorize.base.errors import UserError
from colorize.inference import Colorizer
from colorize.photos.photo import photo_of, read_photo, write_photo
from colorize.photos.profiles import conversion
from tests.conftest import colorful_image
from tests.inference.test_colorizer import Stub
from tests.inference.test_many import Run
from tests.photos.test_photo import gamma_profile

EXIF_IFD, MAKER_NOTE, LENS = ExifTags.IFD.Exif, 0x927C, 0xA434


@pytest.fixture
def run(tmp_path) -> Run:
    return Run(tmp_path)


def one_way(profile: bytes) -> bytes:
    """Turn a profile of a monitor into one of a scanner with a table from device to PCS alone."""
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 2)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    white = np.array([0.9642, 1.0, 0.8249])
    table = (grid.mean(axis=1, keepdims=True) * white * 32768).round().astype(">u2")  # XYZ of grey, 1.0 is 32768
    curve = np.array([0, 65535], ">u2").tobytes() * 3
    matrix = b"".join(int(value * 65536).to_bytes(4, "big") for value in np.eye(3).ravel())
    lut = (
        b"mft2" + bytes(4) + bytes([3, 3, 2, 0]) + matrix + (2).to_bytes(2, "big") * 2 + curve + table.tobytes() + curve
    )
    count, kept = int.from_bytes(profile[128:132], "big"), {}
    for start in range(132, 132 + 12 * count, 12):
        name, offset, size = (
            profile[start : start + 4],
            *(int.from_bytes(profile[at : at + 4], "big") for at in (start + 4, start + 8)),
        )
        if name in (b"wtpt", b"desc", b"cprt"):
            kept[name] = profile[offset : offset + size]
    kept[b"A2B0"] = lut
    return with_tags(profile[:12] + b"scnr" + profile[16:128], kept)


def with_tags(header: bytes, tags: dict[bytes, bytes]) -> bytes:
    start, table, data = 132 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += name + (start + len(data)).to_bytes(4, "big") + len(content).to_bytes(4, "big")
        data += content
    whole = header[4:128] + len(tags).to_bytes(4, "big") + table + data
    return (len(whole) + 4).to_bytes(4, "big") + whole


def with_a_placeholder_back(profile: bytes) -> bytes:
    """Add a table from PCS to device that is there because it must be: it makes everything black."""
    count, tags = int.from_bytes(profile[128:132], "big"), {}
    for start in range(132, 132 + 12 * count, 12):
        offset, size = (int.from_bytes(profile[at : at + 4], "big") for at in (start + 4, start + 8))
        tags[profile[start : start + 4]] = profile[offset : offset + size]
    matrix = b"".join(int(value * 65536).to_bytes(4, "big") for value in np.eye(3).ravel())
    curve = np.array([0, 65535], ">u2").tobytes() * 3
    head = b"mft2" + bytes(4) + bytes([3, 3, 2, 0]) + matrix + (2).to_bytes(2, "big") * 2
    return with_tags(profile[:128], tags | {b"B2A0": head + curve + bytes(48) + curve})


def animation(path: Path, mode: str, **more) -> Path:
    frames = [colorful_image(number).convert(mode) for number in range(3)]
    frames[0].save(path, save_all=True, append_images=frames[1:], **more)
    return path


@pytest.mark.parametrize(
    ("name", "mode", "more"),
    [
        ("x.tif", "L", {}),
        ("x.tif", "RGB", {}),
        ("x.tif", "RGB", {"compression": "tiff_lzw"}),
        ("x.gif", "L", {}),
        ("x.gif", "P", {}),
        ("x.png", "L", {}),
        ("x.webp", "RGB", {}),
    ],
)
def test_a_file_of_several_frames_is_colored_and_so_are_the_others(run, tmp_path, name, mode, more) -> None:
    (tmp_path / "in").mkdir()
    path = animation(tmp_path / "in" / name, mode, **more)
    colorful_image(5).save(tmp_path / "in/y.png")
    tally = run(tmp_path / "in")
    assert len(tally.written) == 2 and tally.failed == 0
    assert run.said == [f"{path}: 3 frames; the first is colored"]
    with Image.open(tally.written[path]) as colored, Image.open(path) as given:
        expected = rgb2lab(np.asarray(given.convert("RGB")))[..., 0]
        assert np.abs(rgb2lab(np.asarray(colored.convert("RGB")))[..., 0] - expected).mean() < 2


def test_a_profile_without_a_way_back_is_left_out_and_told(run, tmp_path) -> None:
    profile = one_way(gamma_profile())
    with pytest.raises(ImageCms.PyCMSError):  # lcms itself has no way back
        ImageCms.buildTransform(ImageCms.createProfile("sRGB"), io.BytesIO(profile), "RGB", "RGB")
    given = colorful_image(0)
    given.save(tmp_path / "x.png", icc_profile=profile)
    colorful_image(1).save(tmp_path / "y.png")
    tally = run(tmp_path / "x.png", tmp_path / "y.png")
    assert (len(tally.written), tally.failed) == (2, 0)
    assert run.said == [f"{tmp_path / 'x.png'}: its ICC profile is not invertible; written in sRGB"]
    expected = ImageCms.profileToProfile(given, io.BytesIO(profile), ImageCms.createProfile("sRGB"), 1)
    with Image.open(run.out / "x.png") as colored:
        assert "sRGB" in ImageCms.getProfileDescription(io.BytesIO(colored.info["icc_profile"]))
        difference = rgb2lab(np.asarray(colored))[..., 0] - rgb2lab(np.asarray(expected))[..., 0]
    assert np.abs(difference).max() < 0.5


def test_a_placeholder_of_a_way_back_is_not_used(run, tmp_path) -> None:
    profile = with_a_placeholder_back(gamma_profile())
    colorful_image(0).save(tmp_path / "x.png", icc_profile=profile)
    run(tmp_path / "x.png")
    assert run.said == [f"{tmp_path / 'x.png'}: its ICC profile is not invertible; written in sRGB"]
    with Image.open(run.out / "x.png") as colored, Image.open(tmp_path / "x.png") as given:
        seen = ImageCms.profileToProfile(given, io.BytesIO(profile), ImageCms.createProfile("sRGB"), 1)
        difference = rgb2lab(np.asarray(colored))[..., 0] - rgb2lab(np.asarray(seen))[..., 0]
    assert np.abs(difference).max() < 0.5


def test_a_profile_that_cannot_show_greys_is_not_written_with(run, tmp_path) -> None:
    green = b"".join(round(value * 65536).to_bytes(4, "big") for value in (0.3851, 0.7169, 0.0971))
    dark = b"".join(round(value * 65536).to_bytes(4, "big") for value in (0.0963, 0.1792, 0.0243))
    assert gamma_profile().count(green) == 1
    profile = gamma_profile().replace(green, dark)  # a flipped bit or two: its white is pink
    colorful_image(0).save(tmp_path / "x.png", icc_profile=profile)
    run(tmp_path / "x.png")
    assert run.said == [f"{tmp_path / 'x.png'}: its ICC profile is not invertible; written in sRGB"]


@pytest.mark.parametrize("power", [1.0, 1.8, 2.2])
def test_a_profile_of_a_monitor_has_a_way_back(power) -> None:
    assert conversion(power_profile(power), "RGB").back


def test_a_profile_that_only_calls_itself_srgb_is_heeded() -> None:
    named = gamma_profile().replace(b"power", b"sRGBx")
    photo = photo_of(with_profile(colorful_image(0), named))
    expected = ImageCms.profileToProfile(colorful_image(0), io.BytesIO(named), ImageCms.createProfile("sRGB"), 1)
    assert np.abs(np.asarray(photo.pixels).astype(int) - np.asarray(expected)).max() <= 1


def with_profile(image: Image.Image, profile: bytes) -> Image.Image:
    image.info["icc_profile"] = profile
    return image


def camera_exif(note: int = 40) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "a camera"
    exif.get_ifd(EXIF_IFD).update({LENS: "a lens", 0x829A: TiffImagePlugin.IFDRational(1, 60), MAKER_NOTE: b"n" * note})
    exif.get_ifd(ExifTags.IFD.GPSInfo).update({1: "N", 2: (51.0, 30.0, 0.5)})
    return exif


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "packbits", "tiff_adobe_deflate", "zstd", "lzma"])
def test_a_compressed_tiff_keeps_its_exif(tmp_path, compression) -> None:
    colorful_image(0).save(tmp_path / "x.tif", exif=camera_exif().tobytes())  # uncompressed, Pillow writes both
    photo = read_photo(tmp_path / "x.tif")
    photo.metadata["compression"] = compression
    write_photo(photo, photo.pixels, tmp_path / "y.tif")
    assert photo.notes == []
    with Image.open(tmp_path / "y.tif") as written:
        written.load()
        exif = written.getexif()
        assert written.info["compression"] == compression and exif[ExifTags.Base.Make] == "a camera"
        assert np.array_equal(np.asarray(written), np.asarray(colorful_image(0)))
        assert exif.get_ifd(EXIF_IFD)[LENS] == "a lens" and float(exif.get_ifd(EXIF_IFD)[0x829A]) == 1 / 60
        assert [float(value) for value in exif.get_ifd(ExifTags.IFD.GPSInfo)[2]] == [51.0, 30.0, 0.5]


def test_exif_too_long_for_jpeg_costs_the_maker_note_alone(run, tmp_path) -> None:
    long_jpeg(tmp_path / "x.jpg", camera_exif(66_000).tobytes())
    tally = run(tmp_path / "x.jpg")
    assert tally.failed == 0
    assert run.said == [f"{tmp_path / 'x.jpg'}: the maker note of its EXIF cannot be written and is left out"]
    with Image.open(run.out / "x.jpg") as colored:
        kept = colored.getexif()
        assert kept[ExifTags.Base.Make] == "a camera" and kept.get_ifd(EXIF_IFD)[LENS] == "a lens"
        assert MAKER_NOTE not in kept.get_ifd(EXIF_IFD)


def long_jpeg(path: Path, exif: bytes) -> None:
    """Write a JPEG whose EXIF goes on in a second segment, as cameras do that do not care for the limit."""
    buffer = io.BytesIO()
    colorful_image(0).save(buffer, "JPEG")
    pieces = [exif[:60_000], b"Exif\0\0" + exif[60_000:]]
    segments = b"".join(b"\xff\xe1" + (len(piece) + 2).to_bytes(2, "big") + piece for piece in pieces)
    path.write_bytes(buffer.getvalue()[:2] + segments + buffer.getvalue()[2:])


def test_exif_that_is_too_long_without_its_maker_note_is_left_out(run, tmp_path) -> None:
    exif = camera_exif()
    exif[ExifTags.Base.ImageDescription] = "d" * 70_000
    long_jpeg(tmp_path / "x.jpg", exif.tobytes())
    assert run(tmp_path / "x.jpg").failed == 0
    assert run.said == [f"{tmp_path / 'x.jpg'}: its EXIF cannot be written and is left out"]


def test_exif_with_only_an_orientation_is_not_called_damaged(run, tmp_path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    for name in ("x.jpg", "x.png", "x.webp"):
        colorful_image(0, 48, 40).save(tmp_path / name, exif=exif)
        run(tmp_path / name)
        assert run.said == []
        with Image.open(run.out / name) as colored:
            assert colored.size == (40, 48) and colored.getexif().get(ExifTags.Base.Orientation, 1) == 1


def test_exif_of_which_a_tag_is_lost_is_told(run, tmp_path) -> None:
    exif = bytearray(camera_exif().tobytes())
    at = exif.index(LENS.to_bytes(2, "big"))
    exif[at + 8 : at + 12] = b"\x7f\xff\xff\xff"  # the lens lies beyond the end
    colorful_image(0).save(tmp_path / "x.png", exif=bytes(exif))
    run(tmp_path / "x.png")
    assert run.said == [f"{tmp_path / 'x.png'}: part of its EXIF is damaged and is left out"]
    with Image.open(run.out / "x.png") as colored:
        assert colored.getexif()[ExifTags.Base.Make] == "a camera"


def test_exif_that_cannot_be_written_is_told(run, tmp_path, monkeypatch) -> None:
    colorful_image(0).save(tmp_path / "x.png", exif=camera_exif())

    def unwritable(self, offset=8):
        raise ValueError("no")

    monkeypatch.setattr(Image.Exif, "tobytes", unwritable)
    assert run(tmp_path / "x.png").failed == 0
    assert run.said == [f"{tmp_path / 'x.png'}: its EXIF is damaged and is left out"]


def scrambled(content: bytes) -> bytes:
    return content[:60] + bytes(byte ^ 0x55 for byte in content[60:-400]) + content[-400:]


def of_64_samples(content: bytes) -> bytes:
    tag = (277).to_bytes(2, "little") + (3).to_bytes(2, "little") + (1).to_bytes(4, "little")
    assert content.count(tag) == 1
    return content.replace(tag + b"\3", tag + b"\x40")


@pytest.mark.parametrize("damage", [scrambled, of_64_samples])
def test_libraries_say_nothing_of_their_own(tmp_path, damage) -> None:
    colorful_image(0).save(tmp_path / "x.tif", compression="tiff_lzw")
    (tmp_path / "x.tif").write_bytes(damage((tmp_path / "x.tif").read_bytes()))
    code = (
        "import sys\nfrom colorize.images import ImageError\nfrom colorize.photos.photo import read_photo\n"
        "try:\n    read_photo(sys.argv[1])\nexcept ImageError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "x.tif")], capture_output=True, text=True)
    assert done.stderr == "" and done.stdout.startswith(f"{tmp_path / 'x.tif'}: ")


@pytest.mark.parametrize("stage", ["read", "color", "write"])
def test_whatever_one_photograph_raises_is_its_own_line(run, tmp_path, monkeypatch, stage) -> None:
    for number in range(5):
        colorful_image(number, 40 + number).save(tmp_path / f"{number}.png")

    def odd(function, width):
        def work(*args, **kwargs):
            if any(getattr(given, "size", (0,))[0] == 42 for given in (args[0], *list(args[1:2]))):
                raise AssertionError  # as Pillow's plugins do, without a word
            return function(*args, **kwargs)

        return work

    if stage == "read":
        from colorize.inference import many as batch

        read = batch.read_photo
        monkeypatch.setattr(batch, "read_photo", lambda path, *more: odd(lambda photo: photo, 42)(read(path, *more)))
    elif stage == "color":
        from colorize.inference import colorizer as inference

        monkeypatch.setattr(inference, "paint", odd(inference.paint, 42))
    else:
        monkeypatch.setattr(Image.Image, "save", odd(Image.Image.save, 42))
    tally = run(*[tmp_path / f"{number}.png" for number in range(5)])
    assert len(tally.written) == 4 and tally.failed == 1 and run.advanced == 5
    assert run.said == [f"{tmp_path / '2.png'}: AssertionError"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_prediction_that_is_not_finite_is_an_error(value) -> None:
    class Broken(Stub):
        def __call__(self, L: np.ndarray) -> np.ndarray:
            predicted = super().__call__(L).copy()
            predicted[0, 1, 2, 3] = value
            return predicted

    with pytest.raises(
        UserError, match="the network's prediction is not finite: the weights are damaged, or need --precision 32"
    ):
        Colorizer(Broken()).colorize(colorful_image(0))
    ensemble = Colorizer(Broken())
    with pytest.raises(UserError, match="not finite"):
        ensemble.colorize(colorful_image(0), ensemble="flip")


def test_a_network_of_nan_colors_no_photograph(run, tmp_path) -> None:
    class Broken(Stub):
        def __call__(self, L: np.ndarray) -> np.ndarray:
            return np.full_like(super().__call__(L), np.nan)

    for number in range(4):
        colorful_image(number).save(tmp_path / f"{number}.png")
    tally = run(*[tmp_path / f"{number}.png" for number in range(4)], predictor=Broken())
    assert tally.failed == 4 and not tally.written and len(run.said) == 4

"""Generate or collect pictures in every installed format, and mutate files and their contents."""

import importlib.metadata
import io
from collections.abc import Iterator
from contextlib import suppress
from itertools import count, product
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageCms, TiffImagePlugin

from colorize.images import readable
from colorize.scenes.dataset import draw_scene

MODES = ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV", "I", "I;16", "F"]
OPTIONS = {  # of Pillow's save, beside none
    "JPEG": [{"progressive": True}, {"quality": 30, "subsampling": 2}, {"restart_marker_rows": 1}],
    "PNG": [{"optimize": True}, {"compress_level": 0}, {"save_all": True}],
    "TIFF": [
        {"compression": name}
        for name in ["tiff_lzw", "packbits", "tiff_adobe_deflate", "group4", "jpeg", "zstd", "lzma", "webp"]
    ]
    + [{"save_all": True}, {"big_tiff": True}],
    "WEBP": [{"lossless": True}, {"quality": 20}, {"save_all": True}],
    "GIF": [{"save_all": True}, {"interlace": 0}],
    "JPEG2000": [{"irreversible": True}, {"tile_size": (32, 32)}],
    "AVIF": [{"quality": 40, "subsampling": "4:2:0"}, {"save_all": True}],
    "TGA": [{"compression": "tga_rle"}],
    "BMP": [{}],
    "PDF": None,  # and of all others that are no pictures, or slow
    "EPS": None,
}
LARGEST = 200_000  # bytes, of pictures that packages bring
CARRIERS = ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"]  # that hold profiles and EXIF


def written(folder: Path) -> list[Path]:
    """Write pictures by Pillow in every mode, format and option that it takes, and by tifffile and imageio if here."""
    picture = Image.fromarray(draw_scene(0, 0, 64).rgb)
    paths = []
    numbers = count()
    endings = {name: suffix for suffix, name in Image.registered_extensions().items() if suffix in readable()}
    for mode, name in product(MODES, sorted(endings.keys() & Image.SAVE.keys())):
        for options in [{}, *(OPTIONS.get(name) or [])] if OPTIONS.get(name, ()) is not None else []:
            path = folder / f"{next(numbers)} {mode.replace(';', '')}{endings[name]}"
            with suppress(Exception):  # most formats take few modes
                image = in_mode(picture, mode)
                more = (
                    {"append_images": [image.transpose(Image.Transpose.ROTATE_90)] * 2} if "save_all" in options else {}
                )
                image.save(path, name, **options, **more)
                paths.append(path)
                continue
            path.unlink(missing_ok=True)
    with suppress(ImportError):
        paths += _by_tifffile(folder, np.asarray(picture))
    with suppress(ImportError):
        paths += _by_imageio(folder, np.asarray(picture))
    return paths


def in_mode(picture: Image.Image, mode: str) -> Image.Image:
    """Return a picture in any mode of Pillow."""
    if mode == "LAB":
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        return ImageCms.profileToProfile(picture, *profiles, outputMode="LAB")
    if mode in ("I", "I;16", "F"):
        dtype = {"I": np.int32, "I;16": np.uint16, "F": np.float32}[mode]
        return Image.fromarray((np.asarray(picture.convert("L")).astype(np.uint32) * 257).astype(dtype))
    image = picture.convert("RGBA" if mode in ("LA", "PA", "RGBA") else "RGB").convert(mode if mode != "PA" else "P")
    if mode in ("LA", "RGBA"):
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image.convert("PA") if mode == "PA" else image


def _by_tifffile(folder: Path, rgb: np.ndarray) -> Iterator[Path]:
    import tifffile

    kinds = [{}, {"tile": (16, 16)}, {"planarconfig": "separate"}, {"compression": "deflate"}, {"bigtiff": True}]
    for number, (dtype, options) in enumerate(product(("u1", "u2", "f4"), kinds)):
        for pixels in (rgb, rgb[..., 0]):
            path = folder / f"tifffile {number} {pixels.ndim}.tif"
            with suppress(Exception):
                scaled = (pixels * {"u1": 1, "u2": 257, "f4": 1 / 255}[dtype]).astype(dtype)
                tifffile.imwrite(path, np.stack([scaled] * 2) if number % 3 == 2 else scaled, **options)
                yield path


def _by_imageio(folder: Path, rgb: np.ndarray) -> Iterator[Path]:
    import imageio.v3

    for suffix in ("png", "jpg", "bmp", "gif", "tif", "webp"):
        path = folder / f"imageio.{suffix}"
        with suppress(Exception):
            imageio.v3.imwrite(path, rgb)
            yield path


def brought() -> list[Path]:
    """Return the pictures that installed packages bring."""
    files = [
        Path(str(file.locate()))
        for distribution in importlib.metadata.distributions()
        for file in distribution.files or ()
        if Path(file.name).suffix.lower() in readable()
    ]
    return sorted({file for file in files if file.is_file() and 0 < file.stat().st_size <= LARGEST})


def profiles() -> list[bytes]:
    """Return ICC profiles: lcms's own, and with sRGB's primaries and other curves and tags."""
    made = [ImageCms.ImageCmsProfile(ImageCms.createProfile(name)).tobytes() for name in ("sRGB", "LAB")]
    scanner = made[0].replace(b"mntr", b"scnr")
    return [*made, scanner, *(power_profile(power) for power in (1.0, 1.8, 2.2))]


def power_profile(power: float) -> bytes:
    """Return a profile of sRGB's primaries with a power for its curve."""

    def xyz(*values: float) -> bytes:
        return b"XYZ " + bytes(4) + b"".join(round(value * 65536).to_bytes(4, "big") for value in values)

    curve = b"curv" + bytes(4) + (1).to_bytes(4, "big") + round(power * 256).to_bytes(2, "big") + bytes(2)
    text = b"desc" + bytes(4) + (6).to_bytes(4, "big") + b"power\0" + bytes(8 + 70)
    tags = {b"wtpt": xyz(0.9642, 1.0, 0.8249), b"desc": text, b"cprt": text}
    tags |= {b"rXYZ": xyz(0.4361, 0.2225, 0.0139), b"gXYZ": xyz(0.3851, 0.7169, 0.0971)}
    tags |= {b"bXYZ": xyz(0.1431, 0.0606, 0.7141), b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
    table, data, start = b"", b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        padded = content + bytes(-len(content) % 4)
        table += name + (start + len(data)).to_bytes(4, "big") + len(content).to_bytes(4, "big")
        data += padded
    header = bytearray(128)
    header[8:12], header[12:24], header[36:40] = b"\2\x40\0\0", b"mntrRGB XYZ ", b"acsp"
    header[68:80] = xyz(0.9642, 1.0, 0.8249)[8:]
    whole = len(tags).to_bytes(4, "big") + table + data
    header[:4] = (128 + len(whole)).to_bytes(4, "big")
    return bytes(header) + whole


def exif() -> list[bytes]:
    """Return EXIF blocks of all directories, in both byte orders, with and without an orientation."""
    blocks = []
    for endian, orientation, note in product("<>", (None, 6), (10, 3000)):
        block = Image.Exif()
        block.endian = endian
        block[ExifTags.Base.Make], block[ExifTags.Base.DateTime] = "a camera", "2020:01:01 00:00:00"
        if orientation:
            block[ExifTags.Base.Orientation] = orientation
        shot = {0x829A: TiffImagePlugin.IFDRational(1, 60), 0xA434: "a lens", 0x927C: b"n" * note, 0xA005: {1: "R98"}}
        block.get_ifd(ExifTags.IFD.Exif).update(shot)
        block.get_ifd(ExifTags.IFD.GPSInfo).update({1: "N", 2: (51.0, 30.0, 0.5)})
        blocks.append(block.tobytes())
    return blocks


def carrier(name: str, **held: bytes) -> bytes:
    """Return a picture in a format, with what it is to hold: ``icc_profile`` or ``exif``."""
    buffer = io.BytesIO()
    Image.fromarray(draw_scene(0, 1, 48).rgb[:40]).save(buffer, name, **held)
    return buffer.getvalue()


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Damage bytes: flip some, cut them off, cut a piece out, repeat one, fill one with zeros, or change one number."""
    data = bytearray(content)
    start, end = sorted(rng.integers(0, len(data), 2).tolist())
    match rng.integers(6):
        case 0:
            for position in rng.integers(0, len(data), 1 + len(data) // 200):
                data[position] = rng.integers(256)
        case 1:
            del data[max(1, start) :]
        case 2:
            del data[start : start + 40]
        case 3:
            data[end:end] = data[start : start + 60]
        case 4:
            data[start : start + 50] = bytes(len(data[start : start + 50]))
        case _:
            early = rng.integers(0, min(len(data), 400))  # headers stand there
            data[early : early + 4] = rng.integers(0, 256, 4, dtype=np.uint8).tobytes()
    return bytes(data) or b"\0"

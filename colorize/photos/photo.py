"""Photographs as they are coloured: read with all that a file holds beside its pixels, and written with it again."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from colorize.base.files import replacing
from colorize.images import DEEP, frames_of, header, make_upright, to_uint8, to_uint16
from colorize.photos.metadata import add_directories, in_place, read_metadata, with_less
from colorize.photos.profiles import INTENT, SRGB, Conversion, conversion
from colorize.photos.webp import save_webp

# Formats that hold 24-bit colour: the names that their files go by, the first for new names, and how they are saved:
# without chroma subsampling, as colours are what the file is for, and of a quality at which lightness is lost as by the
# grey photograph's being saved once more at 95 (benchmarks/RESULTS.md)
FORMATS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "PNG": ((".png", ".apng"), {"compress_level": 4}),  # two thirds of the time of 6, files 3% larger
    "JPEG": ((".jpg", ".jpeg", ".jpe", ".jfif"), {"quality": 96, "subsampling": 0}),
    "WEBP": ((".webp",), {"quality": 98}),
    "TIFF": ((".tif", ".tiff"), {"compression": "tiff_adobe_deflate"}),
    "AVIF": ((".avif",), {"quality": 95, "subsampling": "4:4:4"}),
    "JPEG2000": ((".jp2", ".j2k", ".jpx", ".jpf"), {}),
    "BMP": ((".bmp", ".dib"), {}),
    "PPM": ((".ppm", ".pnm"), {}),
    "TGA": ((".tga",), {}),
}
WITH_ALPHA = {"PNG", "WEBP", "TIFF", "AVIF", "JPEG2000", "TGA"}
SIDE_LIMITS = {"JPEG": 65535, "WEBP": 16383, "AVIF": 16384}
ONE_PICTURE = {"MPO", "PSD"}  # whose other frames are previews, or layers of the first
LOSSLESS_TIFF = {"raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "zstd", "lzma"}
LAB = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))


@dataclass
class Photo:
    """A photograph in sRGB.

    Attributes:
        pixels: mode ``L``, ``RGB``, or ``I;16``.
        alpha: mode ``L``, or None.
        format: Pillow's name of the format that a coloured version is written in.
        profile: the ICC profile that it is written with; None is sRGB, unsaid.
        back: from sRGB to that profile; None if it is sRGB's.
        metadata: what is written beside the pixels, as Pillow's ``save`` takes it.
        notes: what its owner should know, such as that only the first frame is coloured.
    """

    pixels: Image.Image
    alpha: Image.Image | None = None
    format: str = "PNG"
    profile: bytes | None = None
    back: ImageCms.ImageCmsTransform | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.pixels.size

    def block(self, box: tuple[int, int, int, int]) -> np.ndarray:
        """Return the pixels of a box: ``(H, W)`` or ``(H, W, 3)``, uint8 or uint16."""
        return np.asarray(self.pixels.crop(box))

    def small(self, size: tuple[int, int]) -> np.ndarray:
        """Return it at another size, on white where it is transparent: ``(h, w)`` or ``(h, w, 3)`` uint8."""
        pixels = self.pixels
        if pixels.mode.startswith(DEEP):
            pixels = to_uint8(pixels)
        pixels = pixels.resize(size, Image.Resampling.BICUBIC)
        if self.alpha is not None:
            white = Image.new(pixels.mode, size, "white")
            pixels = Image.composite(pixels, white, self.alpha.resize(size, Image.Resampling.BICUBIC))
        return np.asarray(pixels)

    def finished(self, colored: Image.Image) -> Image.Image:
        """Give a coloured version, sRGB, the profile and the transparency of the photograph."""
        if self.back:
            colored = self.back.apply_in_place(colored)
        if self.alpha is not None:
            colored.putalpha(self.alpha)
        if self.profile:
            colored.info["icc_profile"] = self.profile
        return colored


def format_of(name: str) -> str | None:
    """Return the format that a file's ending stands for, of those in `FORMATS`."""
    suffix = Path(name).suffix.lower()
    return next((format for format, (endings, _) in FORMATS.items() if suffix in endings), None)


def read_photo(path: Path | str, quality: int | None = None, wanted: str | None = None) -> Photo:
    """Read a photograph.

    Args:
        path: of it.
        wanted: the format of the coloured version; None is its own. Where that does not do, it is PNG.
        quality: of the coloured version, if its format loses some: 1 to 100; None is the format's own in `FORMATS`.
    Raises:
        ImageError: as `colorize.images.opened`.
    """
    with header(path) as image:
        chosen = conversion(image.info.get("icc_profile"), image.mode)  # before the pixels, which cost most, are read
        image.load()
        exif = image.info.get("exif")
        make_upright(image)
        photo = _taken(image, chosen)
        photo.format = _format(wanted or image.format, photo)
        if wanted and photo.format != wanted:
            photo.notes.append(f"written as {photo.format}: {wanted} does not hold its transparency or its size")
        metadata, lost = read_metadata(image, path, exif)
        own = _own_settings(image, path) if photo.format == image.format else {}
        photo.metadata = FORMATS[photo.format][1] | own | metadata
        if quality and "quality" in photo.metadata:
            photo.metadata["quality"] = quality
        photo.notes += lost
        frames = 1 if image.format in ONE_PICTURE else frames_of(image, path)
        if frames != 1:
            photo.notes.append(f"{frames or 'damaged further'} frames; the first is coloured")
        return photo


def photo_of(image: Image.Image) -> Photo:
    """Take an image of any mode apart: its sRGB pixels, its transparency, its profile."""
    return _taken(image, conversion(image.info.get("icc_profile"), image.mode))


def _taken(image: Image.Image, chosen: Conversion) -> Photo:
    deep = image.mode.startswith(DEEP)
    transparent = image.has_transparency_data and not deep  # Pillow cannot tell which of 16-bit pixels are
    if deep and not chosen.there:
        pixels = Image.fromarray(to_uint16(image))
    else:
        pixels = image if image.mode == chosen.mode else _eight_bits(image, chosen.mode)
        if chosen.there:  # in place what is ours and has room for three channels
            owned = pixels is not image and pixels.mode == "RGB"
            pixels = chosen.there.apply_in_place(pixels) if owned else chosen.there.apply(pixels)
    alpha = None
    if transparent:
        alpha = (image if "A" in image.getbands() else image.convert("RGBA")).getchannel("A")
    notes = [chosen.note] if chosen.note else []
    return Photo(pixels, alpha, profile=chosen.profile, back=chosen.back, notes=notes)


def write_photo(photo: Photo, colored: Image.Image, target: Path) -> None:
    """Write a coloured version, whole or not at all; see `save_photo`."""
    with replacing(target) as temporary:
        save_photo(photo, colored, temporary)


def save_photo(photo: Photo, colored: Image.Image, target: Path) -> None:
    """Save a coloured version with the photograph's profile and metadata.

    What its format does not take is left out, and noted.

    Raises:
        Exception: of whatever type the format's encoder raises.
    """
    first: Exception | None = None
    for metadata, lost in with_less(photo.metadata):
        try:
            _save(colored, target, photo, metadata)
        except Exception as error:  # each format's encoder raises types of its own
            if isinstance(error, MemoryError) or getattr(error, "errno", None):  # of the machine, not of the encoder
                raise
            first = first or error
        else:
            photo.notes += lost
            return
    raise first


def _save(colored: Image.Image, target: Path, photo: Photo, metadata: dict[str, Any]) -> None:
    metadata, directories = in_place(metadata, photo.format)
    settings = {"icc_profile": photo.profile, **metadata}
    if photo.format == "WEBP" and not metadata.get("lossless"):
        save_webp(colored, target, settings)
    else:
        colored.save(target, photo.format, **settings)
    if directories:
        add_directories(target, directories)


def name_for(path: Path, photo: Photo) -> str:
    """Return the file name of the coloured version: the given one, if that fits the format that it is written in."""
    return path.name if format_of(path.name) == photo.format else path.name + FORMATS[photo.format][0][0]


def _eight_bits(image: Image.Image, mode: str) -> Image.Image:
    if image.mode.startswith(DEEP):
        image = to_uint8(image)
    if image.mode == "LAB":
        return ImageCms.ImageCmsTransform(LAB, SRGB, "LAB", "RGB", INTENT).apply(image)
    if image.mode in ("RGBa", "PA", "La"):
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    return image if image.mode == mode else image.convert(mode)


def _format(name: str, photo: Photo) -> str:
    """Choose the format that it is written in: the given one, if that holds colour, its transparency and its size."""
    name = {"MPO": "JPEG", "DIB": "BMP"}.get(name, name)
    fits = name in FORMATS and max(photo.size) <= SIDE_LIMITS.get(name, max(photo.size))
    return name if fits and (photo.alpha is None or name in WITH_ALPHA) else "PNG"


def _own_settings(image: Image.Image, path: Path | str) -> dict[str, Any]:
    """Return how the file itself was compressed, where that is without loss."""
    if image.format == "TIFF" and image.info.get("compression") in LOSSLESS_TIFF:
        return {"compression": image.info["compression"]}
    if image.format == "WEBP":
        with Path(path).open("rb") as file:
            return {"lossless": b"VP8L" in file.read(65536)}  # its chunk follows the metadata, if there are any
    return {}

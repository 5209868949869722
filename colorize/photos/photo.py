"""Read photographs for coloring, with metadata, ICC profile and transparency, and write colored versions with them."""

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

# Formats with 24-bit color: their file suffixes, of which new names get the first, and their settings for saving:
# no chroma subsampling, since color is the point of the file, and a quality at which as much lightness is lost as when
# the grey photograph is saved again at 95 (benchmarks/RESULTS.md)
FORMATS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "PNG": ((".png", ".apng"), {"compress_level": 4}),  # takes two thirds of the time of level 6; files are 3% larger
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
ONE_PICTURE = {"MPO", "PSD"}  # their other frames are previews or layers of the first
LOSSLESS_TIFF = {"raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "zstd", "lzma"}
LAB = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))


@dataclass
class Photo:
    """A photograph in sRGB.

    Attributes:
        pixels: mode ``L``, ``RGB``, or ``I;16``.
        alpha: mode ``L``, or None.
        format: Pillow's name of the format in which the colored version is written.
        profile: ICC profile of the colored version; None writes no profile, which means sRGB.
        back: transform from sRGB to that profile; None if the colored version is sRGB.
        metadata: keyword arguments of Pillow's ``save``.
        notes: what its owner should know, such as that only the first frame is colored.
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
        """Resize the pixels, composited on white: ``(h, w)`` or ``(h, w, 3)`` uint8."""
        pixels = self.pixels
        if pixels.mode.startswith(DEEP):
            pixels = to_uint8(pixels)
        pixels = pixels.resize(size, Image.Resampling.BICUBIC)
        if self.alpha is not None:
            white = Image.new(pixels.mode, size, "white")
            pixels = Image.composite(pixels, white, self.alpha.resize(size, Image.Resampling.BICUBIC))
        return np.asarray(pixels)

    def finished(self, colored: Image.Image) -> Image.Image:
        """Convert a colored sRGB version to the photograph's profile, and add its transparency."""
        if self.back:
            colored = self.back.apply_in_place(colored)
        if self.alpha is not None:
            colored.putalpha(self.alpha)
        if self.profile:
            colored.info["icc_profile"] = self.profile
        return colored


def format_of(name: str) -> str | None:
    """Return the format in `FORMATS` for a file's suffix; None if there is none."""
    suffix = Path(name).suffix.lower()
    return next((format for format, (endings, _) in FORMATS.items() if suffix in endings), None)


def read_photo(path: Path | str, quality: int | None = None, wanted: str | None = None) -> Photo:
    """Read a photograph.

    Args:
        path: path of the file.
        quality: quality of the colored version in a lossy format, 1 to 100; None is the default in `FORMATS`.
        wanted: format of the colored version; None is the photograph's own. If that is not possible, PNG is used.
    Raises:
        ImageError: as in `colorize.images.opened`.
    """
    with header(path) as image:
        chosen = conversion(image.info.get("icc_profile"), image.mode)  # before the pixels are read, which costs most
        image.load()
        exif = image.info.get("exif")
        make_upright(image)
        photo = _taken(image, chosen)
        photo.format = _format(wanted or image.format, photo)
        if wanted and photo.format != wanted:
            photo.notes.append(f"written as {photo.format}: {wanted} does not support its transparency or its size")
        metadata, lost = read_metadata(image, path, exif)
        own = _own_settings(image, path) if photo.format == image.format else {}
        photo.metadata = FORMATS[photo.format][1] | own | metadata
        if quality and "quality" in photo.metadata:
            photo.metadata["quality"] = quality
        photo.notes += lost
        frames = 1 if image.format in ONE_PICTURE else frames_of(image, path)
        if frames != 1:
            photo.notes.append(f"{frames or 'damaged further'} frames; the first is colored")
        return photo


def photo_of(image: Image.Image) -> Photo:
    """Convert an image of any mode to a `Photo`: sRGB pixels, transparency and profile."""
    return _taken(image, conversion(image.info.get("icc_profile"), image.mode))


def _taken(image: Image.Image, chosen: Conversion) -> Photo:
    deep = image.mode.startswith(DEEP)
    transparent = image.has_transparency_data and not deep  # Pillow cannot find the transparent pixels of 16-bit images
    if deep and not chosen.there:
        pixels = Image.fromarray(to_uint16(image))
    else:
        pixels = image if image.mode == chosen.mode else _eight_bits(image, chosen.mode)
        if chosen.there:  # in place if it is a copy and has three channels
            owned = pixels is not image and pixels.mode == "RGB"
            pixels = chosen.there.apply_in_place(pixels) if owned else chosen.there.apply(pixels)
    alpha = None
    if transparent:
        alpha = (image if "A" in image.getbands() else image.convert("RGBA")).getchannel("A")
    notes = [chosen.note] if chosen.note else []
    return Photo(pixels, alpha, profile=chosen.profile, back=chosen.back, notes=notes)


def write_photo(photo: Photo, colored: Image.Image, target: Path) -> None:
    """Write a colored version atomically; see `save_photo`."""
    with replacing(target) as temporary:
        save_photo(photo, colored, temporary)


def save_photo(photo: Photo, colored: Image.Image, target: Path) -> None:
    """Save a colored version with the photograph's profile and metadata.

    Metadata that the format does not accept is left out and noted in ``photo.notes``.

    Raises:
        Exception: whatever type the format's encoder raises.
    """
    first: Exception | None = None
    for metadata, lost in with_less(photo.metadata):
        try:
            _save(colored, target, photo, metadata)
        except Exception as error:  # each format's encoder raises its own types
            if isinstance(error, MemoryError) or getattr(error, "errno", None):  # from the system, not the encoder
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
    """Return the file name of the colored version: ``path``'s own, with a suffix appended if the format needs it."""
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
    """Choose the output format: the given one if it supports color, the transparency and the size, else PNG."""
    name = {"MPO": "JPEG", "DIB": "BMP"}.get(name, name)
    fits = name in FORMATS and max(photo.size) <= SIDE_LIMITS.get(name, max(photo.size))
    return name if fits and (photo.alpha is None or name in WITH_ALPHA) else "PNG"


def _own_settings(image: Image.Image, path: Path | str) -> dict[str, Any]:
    """Return the compression settings of the file itself if it is compressed losslessly."""
    if image.format == "TIFF" and image.info.get("compression") in LOSSLESS_TIFF:
        return {"compression": image.info["compression"]}
    if image.format == "WEBP":
        with Path(path).open("rb") as file:
            return {"lossless": b"VP8L" in file.read(65536)}  # the chunk follows the metadata, if any
    return {}

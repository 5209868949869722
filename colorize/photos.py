"""Photographs as they are coloured: read with all that a file holds beside its pixels, and written with it again."""

import io
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageCms

from colorize.files import replacing
from colorize.images import DEEP, opened, to_uint16

QUALITY = 95  # of lossy formats, without chroma subsampling: the colours are what the file is for
# Formats that hold 24-bit colour: the names that their files go by, the first for new names, and how they are saved
FORMATS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "PNG": ((".png", ".apng"), {"compress_level": 4}),  # two thirds of the time of 6, files 3% larger
    "JPEG": ((".jpg", ".jpeg", ".jpe", ".jfif"), {"quality": QUALITY, "subsampling": 0}),
    "WEBP": ((".webp",), {"quality": QUALITY}),
    "TIFF": ((".tif", ".tiff"), {"compression": "tiff_adobe_deflate"}),
    "AVIF": ((".avif",), {"quality": QUALITY, "subsampling": "4:4:4"}),
    "JPEG2000": ((".jp2", ".j2k", ".jpx", ".jpf"), {}),
    "BMP": ((".bmp", ".dib"), {}),
    "PPM": ((".ppm", ".pnm"), {}),
    "TGA": ((".tga",), {}),
}
WITH_ALPHA = {"PNG", "WEBP", "TIFF", "AVIF", "JPEG2000", "TGA"}
SIDE_LIMITS = {"JPEG": 65535, "WEBP": 16383, "AVIF": 16384}
TIFF_TAGS = [
    getattr(ExifTags.Base, name)
    for name in ("ImageDescription", "Make", "Model", "Software", "DateTime", "Artist", "HostComputer", "Copyright")
]
LOSSLESS_TIFF = {"raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "zstd", "lzma"}
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


@dataclass
class Photo:
    """A photograph in sRGB.

    Attributes:
        pixels: mode ``L``, ``RGB``, or ``I;16``.
        alpha: mode ``L``, or None.
        format: Pillow's name of the format that a coloured version is written in.
        profile: the ICC profile that it is written with; None is sRGB, unsaid.
        managed: whether the coloured version is to be converted to that profile, which is not sRGB's.
        metadata: what is written beside the pixels, as Pillow's ``save`` takes it.
        notes: what its owner should know, such as that only the first frame is coloured.
    """

    pixels: Image.Image
    alpha: Image.Image | None = None
    format: str = "PNG"
    profile: bytes | None = None
    managed: bool = False
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
            pixels = Image.fromarray((to_uint16(pixels) // 257).astype(np.uint8))
        pixels = pixels.resize(size, Image.Resampling.BICUBIC)
        if self.alpha is not None:
            white = Image.new(pixels.mode, size, "white")
            pixels = Image.composite(pixels, white, self.alpha.resize(size, Image.Resampling.BICUBIC))
        return np.asarray(pixels)

    def finished(self, colored: Image.Image) -> Image.Image:
        """Give a coloured version, sRGB, the profile and the transparency of the photograph."""
        if self.managed:
            colored = _converted(colored, SRGB, ImageCms.ImageCmsProfile(io.BytesIO(self.profile)))
        if self.alpha is not None:
            colored.putalpha(self.alpha)
        if self.profile:
            colored.info["icc_profile"] = self.profile
        return colored


def read_photo(path: Path | str) -> Photo:
    """Read a photograph of any size, mode and format that Pillow knows; only an animation's first frame.

    Raises:
        ImageError: as `colorize.images.opened`.
    """
    with opened(path) as image:
        photo = photo_of(image)
        photo.format = _format(image, photo)
        photo.metadata = FORMATS[photo.format][1] | _own_settings(image, path) | _metadata(image, photo)
        if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":  # an MPO's others are previews
            photo.notes.append(f"{image.n_frames} frames; the first is coloured")
        return photo


def photo_of(image: Image.Image) -> Photo:
    """Take an image of any mode apart: its sRGB pixels, its transparency, its profile."""
    profile = image.info.get("icc_profile")
    space = profile[16:20] if profile else b""
    managed = bool(profile) and not (space == b"RGB " and _is_srgb(profile))
    deep = image.mode.startswith(DEEP)
    transparent = image.has_transparency_data and not deep  # Pillow cannot tell which of 16-bit pixels are
    photo = Photo(
        Image.fromarray(to_uint16(image)) if deep and not managed else _eight_bits(image, space),
        image.convert("RGBA").getchannel("A") if transparent else None,
    )
    if managed:
        try:
            given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            inks = space == b"CMYK" and image.mode == "CMYK"
            photo.pixels = _converted(image if inks else photo.pixels, given, SRGB)
            photo.managed = space == b"RGB "
        except (ImageCms.PyCMSError, OSError, ValueError):
            photo.notes.append("its ICC profile does not fit it and is left out")
            return photo
    if space == b"RGB ":
        photo.profile = profile
    elif profile:  # a profile of grey or of inks cannot describe RGB
        photo.profile = SRGB.tobytes()
    return photo


def write_photo(photo: Photo, colored: Image.Image, target: Path) -> None:
    """Write a coloured version with the photograph's profile and metadata, whole or not at all."""
    with replacing(target) as temporary:
        colored.save(temporary, photo.format, icc_profile=photo.profile, **photo.metadata)


def name_for(path: Path, photo: Photo) -> str:
    """Return the file name of the coloured version: its own, if that fits the format that it is written in."""
    endings = FORMATS[photo.format][0]
    return path.name if path.suffix.lower() in endings else path.name + endings[0]


def _eight_bits(image: Image.Image, space: bytes) -> Image.Image:
    if image.mode.startswith(DEEP):
        image = Image.fromarray((to_uint16(image) // 257).astype(np.uint8))
    if image.mode == "LAB":
        return _converted(image, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")), SRGB)
    if image.mode in ("RGBa", "PA", "La"):
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    mode = "L" if image.mode in ("1", "L", "LA") and space != b"RGB " else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _converted(image: Image.Image, given: ImageCms.ImageCmsProfile, wanted: ImageCms.ImageCmsProfile) -> Image.Image:
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC  # colours that both can show stay as they are
    return ImageCms.profileToProfile(image, given, wanted, intent, outputMode="RGB")


def _is_srgb(profile: bytes) -> bool:
    try:
        return "sRGB" in ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile)))
    except (ImageCms.PyCMSError, OSError):
        return False


def _format(image: Image.Image, photo: Photo) -> str:
    """Choose the format that it is written in: its own, if that holds colour, its transparency and its size."""
    name = {"MPO": "JPEG", "DIB": "BMP"}.get(image.format, image.format)
    fits = name in FORMATS and max(image.size) <= SIDE_LIMITS.get(name, max(image.size))
    return name if fits and (photo.alpha is None or name in WITH_ALPHA) else "PNG"


def _own_settings(image: Image.Image, path: Path | str) -> dict[str, Any]:
    """Return how the file itself was compressed, where that is without loss."""
    if image.format == "TIFF" and image.info.get("compression") in LOSSLESS_TIFF:
        return {"compression": image.info["compression"]}
    if image.format == "WEBP":
        with Path(path).open("rb") as file:
            return {"lossless": b"VP8L" in file.read(65536)}  # its chunk follows the metadata, if there are any
    return {}


def _descriptive(exif: Image.Exif) -> Image.Exif:
    kept = Image.Exif()
    kept.update({tag: exif[tag] for tag in TIFF_TAGS if tag in exif})
    kept.update({ifd: exif.get_ifd(ifd) for ifd in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo) if exif.get_ifd(ifd)})
    return kept


def _metadata(image: Image.Image, photo: Photo) -> dict[str, Any]:
    """Return EXIF, resolution and comment, as far as they can be understood."""
    kept = {"comment": image.info["comment"]} if isinstance(image.info.get("comment"), bytes) else {}
    dpi = image.info.get("dpi", ())
    if len(dpi) == 2 and all(1 <= value < 65536 for value in dpi):
        kept["dpi"] = dpi
    exif = None
    with suppress(Exception):  # damaged EXIF raises whatever its bytes lead to
        exif = image.getexif()
        if image.format == "TIFF":  # whose own layout is among its tags
            exif = _descriptive(exif)
        if exif:
            kept["exif"] = exif.tobytes()
    if not exif and image.info.get("exif"):
        photo.notes.append("its EXIF is damaged and is left out")
    return kept

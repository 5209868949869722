"""Read image files in any format and mode that Pillow supports; every failure is one error that names the file."""

import ctypes
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

EXTENSIONS = {
    ".apng", ".avif", ".bmp", ".dib", ".gif", ".ico", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg",
    ".jpg", ".pbm", ".pcx", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp",
}  # fmt: skip
NO_PICTURES = {"BUFR", "GRIB", "HDF5", "MPEG"}  # formats that Pillow identifies but cannot decode
# Image formats that only other software reads
FOREIGN = {
    ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".djvu", ".dng", ".exr", ".hdr", ".heic", ".heif", ".hif", ".jxl", ".jxr",
    ".kra", ".nef", ".nrw", ".orf", ".pdf", ".pef", ".raf", ".raw", ".rw2", ".sr2", ".srf", ".srw", ".svg", ".svgz",
    ".x3f", ".xcf",
}  # fmt: skip
PROGRAMS = {"EPS"}  # refused: Pillow would execute them, in Ghostscript
DEEP = ("I", "F")  # prefixes of the modes with more than 8 bits
ROWS_AT_ONCE = 1 << 20  # approximate number of pixels that NumPy converts at once
GREY_SPREAD = 10  # of 255: JPEG leaves a few levels of spread between the channels of a grey image


with suppress(AttributeError, OSError):  # Pillow without libtiff, or statically linked with it
    ctypes.CDLL(Image.core.__file__).TIFFSetErrorHandler(None)  # libtiff prints to stderr what Pillow also raises
logging.getLogger("PIL").addHandler(logging.NullHandler())  # otherwise Pillow's log records go to stderr, too


class ImageError(Exception):
    """A file that cannot be read as an image; the message names the file and the reason."""


class _Quiet:
    """Context manager that suppresses warnings and, unlike `warnings.catch_warnings`, may be shared by threads."""

    def __init__(self) -> None:
        self.lock, self.depth = threading.Lock(), 0

    def __enter__(self) -> None:
        with self.lock:
            if not self.depth:
                self.caught = warnings.catch_warnings()
                self.caught.__enter__()
                warnings.simplefilter("ignore")
            self.depth += 1

    def __exit__(self, *raised: object) -> None:
        with self.lock:
            self.depth -= 1
            if not self.depth:
                self.caught.__exit__(None, None, None)


# Pillow warns at half of the pixels at which it raises, and about odd metadata, which `photos.metadata` reports
QUIET = _Quiet()


@contextmanager
def header(path: Path | str) -> Iterator[Image.Image]:
    """Open an image and read only its header.

    Raises:
        ImageError: if the file is missing, empty, not an image, or has more than twice ``Image.MAX_IMAGE_PIXELS``,
            which Pillow treats as a decompression bomb. Exceptions of the ``with`` block are wrapped in it, too.
    """
    try:
        with QUIET, Image.open(path) as image:
            if image.format in PROGRAMS:
                raise ImageError(f"{path}: {image.format} is a program, not pixels; convert it to PNG")
            yield image
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        most = 2 * Image.MAX_IMAGE_PIXELS / 1e6
        raise ImageError(f"{path}: over {most:.0f} megapixels, the limit; make it smaller") from error
    except MemoryError as error:
        raise ImageError(f"{path}: not enough memory") from error
    except Exception as error:  # each format's decoder raises its own types
        reason = "no such file" if isinstance(error, FileNotFoundError) else str(error) or type(error).__name__
        raise ImageError(f"{path}: {reason.splitlines()[0]}") from error


@contextmanager
def opened(path: Path | str) -> Iterator[Image.Image]:
    """Open an image and decode its first frame, upright, in its original mode.

    Raises:
        ImageError: as in `header`, or if the file is truncated.
    """
    with header(path) as image:
        image.load()
        make_upright(image)
        yield image


def make_upright(image: Image.Image) -> None:
    """Apply the EXIF orientation to an image, in place; do nothing if its EXIF is damaged."""
    with suppress(Exception):  # damaged EXIF can raise any type; the pixels are still good
        ImageOps.exif_transpose(image, in_place=True)


def frames_of(image: Image.Image, path: Path | str) -> int:
    """Return the number of frames in an image's file; 0 if one after the first is damaged.

    The file is opened again for this, since counting seeks through the frames and some formats then lose the pixels.
    """
    if "n_frames" in vars(image) or not hasattr(type(image), "n_frames"):
        return vars(image).get("n_frames", 1)
    try:
        with QUIET, Image.open(path) as again:
            return again.n_frames
    except Exception:  # each format's decoder raises its own types
        return 0


@cache
def readable() -> frozenset[str]:
    """Return the file suffixes of all formats that Pillow reads."""
    known = Image.registered_extensions()
    named = (suffix for suffix, name in known.items() if name in Image.OPEN and name not in NO_PICTURES)
    return frozenset({".mpo", *named})  # Pillow recognizes MPO by its contents only


def read_rgb(path: Path | str) -> Image.Image:
    """Read an image as an upright 8-bit RGB image.

    Of an animation, the first frame is used; transparency is composited on white; 16-bit grey is scaled to 8 bits.

    Raises:
        ImageError: as in `opened`.
    """
    with opened(path) as image:
        return image if image.mode == "RGB" and not image.has_transparency_data else _to_rgb(image)


def to_uint16(image: Image.Image) -> np.ndarray:
    """Return a grey image of more than 8 bits as ``(H, W)`` uint16; floats are scaled from 0 to their maximum."""
    if image.mode not in ("I", "F"):
        return np.asarray(image).astype(np.uint16, copy=False)  # also converts "I;16B"
    top = 65535.0
    if image.mode == "F":
        top = max(max(np.fmax.reduce(rows, axis=None).item() for _, rows in _rows(image)), 1e-9)
    grey = np.empty((image.height, image.width), np.uint16)
    for part, rows in _rows(image):  # in parts: float64 of the whole image would take 24 bytes a pixel
        grey[part] = np.nan_to_num(rows / top * 65535).round().clip(0, 65535)
    return grey


def to_uint8(image: Image.Image) -> Image.Image:
    """Scale a grey image of more than 8 bits to 8; Pillow's ``convert`` would clip it to white."""
    deep = to_uint16(image)
    grey = np.empty(deep.shape, np.uint8)
    np.floor_divide(deep, 257, out=grey, casting="unsafe")
    return Image.fromarray(grey)


def _rows(image: Image.Image) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield an image in parts, each as the slice of its rows and their pixels."""
    count = max(1, ROWS_AT_ONCE // image.width)
    for top in range(0, image.height, count):
        bottom = min(top + count, image.height)
        yield slice(top, bottom), np.asarray(image.crop((0, top, image.width, bottom)))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(DEEP):
        image = Image.fromarray((to_uint16(image) / 257).round().astype(np.uint8))  # convert() would clip to white
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def is_near_grey(rgb: np.ndarray) -> bool:
    """Return whether 99% of the pixels have almost no color.

    Args:
        rgb: ``(H, W, 3)`` uint8.
    """
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]  # by planes: 50 times as fast as along the last axis
    spread = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    return bool(np.count_nonzero(spread >= GREY_SPREAD) < 0.01 * spread.size)

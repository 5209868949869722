"""Read image files: any format and mode that Pillow knows, one error that names the file."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

EXTENSIONS = {
    ".apng", ".avif", ".bmp", ".dib", ".gif", ".ico", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg",
    ".jpg", ".pbm", ".pcx", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp",
}  # fmt: skip
PROGRAMS = {"EPS"}  # Pillow would run them, in Ghostscript
DEEP = ("I", "F")  # what the modes of more than 8 bits begin with
MAX_PIXELS = 200_000_000  # a larger image is taken for a decompression bomb
GREY_SPREAD = 10  # of 255: JPEG leaves a few levels of channel spread in an image that is grey


class ImageError(Exception):
    """A file that cannot be read as an image; the message names the file and the reason."""


@contextmanager
def opened(path: Path | str) -> Iterator[Image.Image]:
    """Open an image and decode its first frame, upright, in its own mode.

    Raises:
        ImageError: if the file is missing, empty, truncated, not an image, or over ``MAX_PIXELS``; also for what the
            body raises.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large images and odd metadata; MAX_PIXELS decides
            with Image.open(path) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise ImageError(f"{path}: {image.width}x{image.height} is over {MAX_PIXELS / 1e6:.0f} megapixels")
                if image.format in PROGRAMS:
                    raise ImageError(f"{path}: {image.format} is a program, not pixels; convert it to PNG")
                image.load()
                with suppress(Exception):  # damaged EXIF raises whatever its bytes lead to; the pixels are good
                    ImageOps.exif_transpose(image, in_place=True)
                yield image
    except ImageError:
        raise
    except Exception as error:  # each format's decoder raises types of its own
        reason = "no such file" if isinstance(error, FileNotFoundError) else str(error) or type(error).__name__
        raise ImageError(f"{path}: {reason.splitlines()[0]}") from error


def read_rgb(path: Path | str) -> Image.Image:
    """Read an image as an upright 8-bit RGB image.

    The first frame of an animation counts; transparency is laid on white; 16-bit grey is scaled to 8 bits.

    Raises:
        ImageError: as `opened`.
    """
    with opened(path) as image:
        return image if image.mode == "RGB" and not image.has_transparency_data else _to_rgb(image)


def pixels_of(path: Path | str) -> int:
    """Return how many pixels a file says that it has; 0 if that cannot be read."""
    with suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(path) as image:
            return image.width * image.height
    return 0


def to_uint16(image: Image.Image) -> np.ndarray:
    """Return a grey image of more than 8 bits as ``(H, W)`` uint16; floats count from 0 to their largest."""
    grey = np.asarray(image)
    if grey.dtype == np.uint16:
        return grey
    top = 65535.0 if image.mode.startswith("I") else max(np.nanmax(grey).item(), 1e-9)
    return np.nan_to_num(grey / top * 65535).round().clip(0, 65535).astype(np.uint16)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(DEEP):
        image = Image.fromarray((to_uint16(image) / 257).round().astype(np.uint8))  # convert() would saturate to white
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def is_near_grey(rgb: np.ndarray) -> bool:
    """Tell whether 99% of the pixels have almost no colour.

    Args:
        rgb: ``(H, W, 3)`` uint8.
    """
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]  # by planes: 50 times as fast as along the last axis
    spread = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    return bool(np.count_nonzero(spread >= GREY_SPREAD) < 0.01 * spread.size)

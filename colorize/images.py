"""Read image files: any format and mode that Pillow knows, one error that names the file."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

EXTENSIONS = {
    ".apng", ".avif", ".bmp", ".dib", ".gif", ".ico", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg",
    ".jpg", ".pbm", ".pcx", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp",
}  # fmt: skip
MAX_PIXELS = 200_000_000  # a larger image is taken for a decompression bomb
GREY_SPREAD = 10  # of 255: JPEG leaves a few levels of channel spread in an image that is grey


class ImageError(Exception):
    """A file that cannot be read as an image; the message names the file and the reason."""


def read_rgb(path: Path | str) -> Image.Image:
    """Read an image as an upright 8-bit RGB image.

    The first frame of an animation counts; transparency is laid on white; 16-bit grey is scaled to 8 bits.

    Raises:
        ImageError: if the file is missing, empty, truncated, not an image, or over ``MAX_PIXELS``.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large images and odd metadata; MAX_PIXELS decides
            with Image.open(path) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise ImageError(f"{path}: {image.width}x{image.height} is over {MAX_PIXELS / 1e6:.0f} megapixels")
                ImageOps.exif_transpose(image, in_place=True)
                image.load()
                return image if image.mode == "RGB" and not image.has_transparency_data else _to_rgb(image)
    except ImageError:
        raise
    except Exception as error:  # each format's decoder raises types of its own
        reason = "no such file" if isinstance(error, FileNotFoundError) else str(error) or type(error).__name__
        raise ImageError(f"{path}: {reason.splitlines()[0]}") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        grey = np.asarray(image, dtype=np.float64)
        top = 65535.0 if image.mode.startswith("I") else max(grey.max(), 1e-9)  # convert() would saturate to white
        image = Image.fromarray((grey / top * 255).round().clip(0, 255).astype(np.uint8))
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

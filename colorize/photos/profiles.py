"""Convert photographs with ICC profiles to sRGB and back; transforms are tested on a few colors before use."""

import io
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

from colorize.srgb import lightness

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC  # keeps the colors that both gamuts contain
NO_FIT = "its ICC profile does not match the image and is left out"
NO_WAY_BACK = "its ICC profile is not invertible; written in sRGB"
STEPS = 6  # levels of each channel, in all combinations, on which a transform is tested
SAME = 2  # of 255: two roundings; a profile that changes every color by at most this counts as sRGB
LEAST_SPAN = 20  # minimum L* from black to white: real paper and ink have over 50, a placeholder profile 0
MOST_LOST = 3  # L*, round trip: real monitor profiles lose 1, in dark colors; a placeholder table loses 35
MOST_BYTES = 255 * 65519  # size of a profile, the most that the segments of a JPEG can hold


@dataclass(frozen=True)
class Conversion:
    """How to convert pixels to sRGB, and the profile of the colored version.

    Attributes:
        mode: mode of the pixels to convert: ``L``, ``RGB`` or ``CMYK``.
        there: transform to sRGB; None if the pixels are sRGB or are treated as sRGB.
        back: transform from sRGB; None if the colored version is written in sRGB.
        profile: ICC profile of the colored version; None writes no profile, which means sRGB.
        note: what the photograph's owner should know, or empty.
    """

    mode: str
    there: ImageCms.ImageCmsTransform | None = None
    back: ImageCms.ImageCmsTransform | None = None
    profile: bytes | None = None
    note: str = ""


@lru_cache(maxsize=8)  # photographs of one camera share a profile; building and testing takes milliseconds
def conversion(profile: bytes | None, mode: str) -> Conversion:
    """Choose how to convert an image; never raises, even for a damaged profile.

    Args:
        profile: ICC profile of the image, if it has one.
        mode: Pillow's mode of the image.
    """
    space = profile[16:20] if profile else b""
    inks = space == b"CMYK" and mode == "CMYK"
    grey = mode in ("1", "L", "LA", "La") or mode.startswith(("I", "F"))
    taken = "CMYK" if inks else "L" if grey and space != b"RGB " else "RGB"
    if not profile:
        return Conversion(taken)
    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        there = ImageCms.ImageCmsTransform(given, SRGB, taken, "RGB", INTENT)
        colors = _colors(taken)
        seen = there.apply(colors)
    except Exception:  # lcms and Pillow can raise any type for a damaged profile
        return Conversion("RGB" if inks else taken, note=NO_FIT)
    L = lightness(np.asarray(seen))
    black, white = (L[0, -1], L[0, 0]) if inks else (L[0, 0], L[0, -1])
    if white - black < LEAST_SPAN:
        return Conversion("RGB" if inks else taken, note=NO_FIT)
    if space != b"RGB ":  # a grey or CMYK profile cannot describe RGB
        return Conversion(taken, there, profile=SRGB.tobytes())
    if np.abs(np.asarray(seen).astype(int) - np.asarray(colors)).max() <= SAME:
        return Conversion(taken, profile=profile)
    try:
        back = ImageCms.ImageCmsTransform(SRGB, given, "RGB", "RGB", INTENT)
        lost = max(_lost(colors, there, back) for colors in (seen, _muted(_colors("RGB"))))
    except Exception:  # for example, a scanner's profile has only one direction
        lost = np.inf
    if lost > MOST_LOST or len(profile) > MOST_BYTES:
        return Conversion(taken, there, profile=SRGB.tobytes(), note=NO_WAY_BACK)
    return Conversion(taken, there, back, profile)


def _lost(colors: Image.Image, there: ImageCms.ImageCmsTransform, back: ImageCms.ImageCmsTransform) -> float:
    """Return the largest change of L* when sRGB colors are converted to a profile and back."""
    returned = there.apply(back.apply(colors))
    return float(np.abs(lightness(np.asarray(returned)) - lightness(np.asarray(colors))).max())


def _muted(colors: Image.Image) -> Image.Image:
    """Halve the saturation: nearly all such colors are in the gamut of any real device."""
    return Image.blend(colors.convert("L").convert("RGB"), colors, 0.5)


def _colors(mode: str) -> Image.Image:
    """Return one row of colors with all combinations of levels, from the lowest of every channel to the highest."""
    levels = np.linspace(0, 255, 256 if mode == "L" else STEPS).round().astype(np.uint8)
    channels = len(mode)  # L, RGB and CMYK have one letter per channel
    grid = np.stack(np.meshgrid(*[levels] * channels, indexing="ij"), axis=-1).reshape(1, -1, channels)
    return Image.fromarray(grid[..., 0] if channels == 1 else grid, mode if mode == "CMYK" else None)

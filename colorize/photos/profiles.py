"""ICC profiles: from a photograph's colours to sRGB and back, each way tried on a few colours before it is used."""

import io
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

from colorize.srgb import lightness

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC  # colours that both can show stay as they are
NO_FIT = "its ICC profile does not fit it and is left out"
NO_WAY_BACK = "its ICC profile has no way back; written in sRGB"
STEPS = 6  # levels of each channel that a transform is tried on, in all combinations
SAME = 2  # of 255: rounding twice; a profile that changes no colour by more is sRGB's
LEAST_SPAN = 20  # L* from black to white at least: real paper and ink have more than 50, a placeholder's table has none
MOST_LOST = 3  # L*, there and back: real profiles of monitors lose 1, in the dark; a table that does nothing 35
MOST_BYTES = 255 * 65519  # of a profile, as many as the segments of a JPEG hold


@dataclass(frozen=True)
class Conversion:
    """How pixels become sRGB, and what a coloured version is written with.

    Attributes:
        mode: ``L``, ``RGB`` or ``CMYK``: of the pixels that it takes.
        there: to sRGB; None if they are sRGB, or are taken for it.
        back: from sRGB; None if what is written is sRGB.
        profile: that is written; None is sRGB, unsaid.
        note: what the photograph's owner should know of it, or nothing.
    """

    mode: str
    there: ImageCms.ImageCmsTransform | None = None
    back: ImageCms.ImageCmsTransform | None = None
    profile: bytes | None = None
    note: str = ""


@lru_cache(maxsize=8)  # photographs of one camera have one profile; to build and try takes some milliseconds
def conversion(profile: bytes | None, mode: str) -> Conversion:
    """Choose how an image is converted; whatever a profile holds, this raises nothing.

    Args:
        profile: its ICC profile, if it has one.
        mode: of the image, as Pillow calls it.
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
    except Exception:  # lcms and Pillow raise what the profile's bytes lead to
        return Conversion("RGB" if inks else taken, note=NO_FIT)
    L = lightness(np.asarray(seen))
    black, white = (L[0, -1], L[0, 0]) if inks else (L[0, 0], L[0, -1])
    if white - black < LEAST_SPAN:
        return Conversion("RGB" if inks else taken, note=NO_FIT)
    if space != b"RGB ":  # a profile of grey or of inks cannot describe RGB
        return Conversion(taken, there, profile=SRGB.tobytes())
    if np.abs(np.asarray(seen).astype(int) - np.asarray(colors)).max() <= SAME:
        return Conversion(taken, profile=profile)
    try:
        back = ImageCms.ImageCmsTransform(SRGB, given, "RGB", "RGB", INTENT)
        lost = max(_lost(colors, there, back) for colors in (seen, _muted(_colors("RGB"))))
    except Exception:  # such as that of a scanner
        lost = np.inf
    if lost > MOST_LOST or len(profile) > MOST_BYTES:
        return Conversion(taken, there, profile=SRGB.tobytes(), note=NO_WAY_BACK)
    return Conversion(taken, there, back, profile)


def _lost(colors: Image.Image, there: ImageCms.ImageCmsTransform, back: ImageCms.ImageCmsTransform) -> float:
    """Return the most that sRGB colours lose of their L* on the way to a profile and back to sRGB."""
    returned = there.apply(back.apply(colors))
    return float(np.abs(lightness(np.asarray(returned)) - lightness(np.asarray(colors))).max())


def _muted(colors: Image.Image) -> Image.Image:
    """Halve the saturation: of what photographs are coloured in, a profile of any real device shows about all."""
    return Image.blend(colors.convert("L").convert("RGB"), colors, 0.5)


def _colors(mode: str) -> Image.Image:
    """Return one row of colours in all combinations of levels, from the least of each channel to the most."""
    levels = np.linspace(0, 255, 256 if mode == "L" else STEPS).round().astype(np.uint8)
    channels = len(mode)  # of L, RGB and CMYK
    grid = np.stack(np.meshgrid(*[levels] * channels, indexing="ij"), axis=-1).reshape(1, -1, channels)
    return Image.fromarray(grid[..., 0] if channels == 1 else grid, mode if mode == "CMYK" else None)

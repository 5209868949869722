"""Detect toned prints, such as sepia and yellowed ones, and extract their neutral tones.

A stain or toner absorbs more blue than red, so the lightness of a toned print is not its tone: on yellowed paper whites
are dull, and in the sepia of software they merge. The channel that is darkest once the paper is scaled to white has
most of the picture's detail.
"""

import numpy as np

from colorize.inference.painting import PixelSource
from colorize.srgb import lab
from colorize.upsampling import Box

TINTS = ("auto", "keep", "remove")
REMOVED = "a toned print: its tint is removed"
SIDE = 128  # longer side in pixels at which pictures are analyzed; averages out grain and JPEG's chroma errors
TONES = 24  # number of bins from dark to light, in each of which a toned print has one color
# Of 10,000 color photographs, 22 have less spread; 12 of them have a hue in `HUES`, 8 of which are toned prints. Of
# noisy 1024x1024 scans in sepia and on yellowed paper, saved as JPEG at quality 60, 99% have less. Small files at low
# quality are mistaken for color: of 256x256 sepia ones saved at quality 20 to 60, 37 of 100 are detected
MOST_SPREAD = 2.5  # root mean square distance of a and b from the median of their bin
LEAST_TINT, MOST_TINT = 3, 30  # chroma of the mean color: less does not affect lightness, more is from colored light
HUES = 20, 110  # degrees, mean hue from reddish brown to greenish yellow; excludes blue sky, also one color per tone
WHITEST = 0.01  # share of the pixels, the lightest, that count as paper


class Untinted:
    """A toned print as a grey `PixelSource`.

    Args:
        source: the print, in color.
        channel: index of the channel that gives the tones: 0, 1 or 2.
        gain: factor of the tones.
    """

    def __init__(self, source: PixelSource, channel: int, gain: float) -> None:
        self.source, self.channel, self.gain = source, channel, gain
        self.size = source.size

    def block(self, box: Box) -> np.ndarray:
        """See `PixelSource`."""
        return self._tones(self.source.block(box))

    def small(self, size: tuple[int, int]) -> np.ndarray:
        """See `PixelSource`."""
        return self._tones(self.source.small(size))

    def _tones(self, pixels: np.ndarray) -> np.ndarray:
        levels = pixels[..., self.channel]
        whole = levels.dtype.kind == "u"
        scaled = np.minimum(levels * np.float32(self.gain), np.iinfo(levels.dtype).max if whole else 1)
        return (scaled.round() if whole else scaled).astype(levels.dtype)


def untinted(source: PixelSource, tint: str) -> PixelSource:
    """Remove the tint of a toned print.

    Args:
        source: a picture.
        tint: ``auto`` removes the tint of detected toned prints, ``remove`` that of any color picture, ``keep`` none.
    Returns:
        The picture itself, or its neutral tones.
    """
    if tint == "keep":
        return source
    shrunk = min(1, SIDE / max(source.size))
    pixels = source.small(tuple(max(1, round(side * shrunk)) for side in source.size))
    if pixels.ndim == 2 or (tint == "auto" and not is_toned(pixels)):
        return source
    return Untinted(source, *tone_channel(pixels))


def is_toned(pixels: np.ndarray) -> bool:
    """Return whether a picture is monochrome in a warm tint: its color is a function of its lightness.

    Args:
        pixels: ``(H, W, 3)`` uint8 sRGB, small.
    """
    L, *ab = lab(pixels).reshape(3, -1)
    a, b = (plane.mean() for plane in ab)
    if not (LEAST_TINT <= np.hypot(a, b) <= MOST_TINT and HUES[0] <= np.degrees(np.arctan2(b, a)) <= HUES[1]):
        return False
    parts = np.array_split(np.argsort(L, kind="stable"), TONES)
    squares = [np.square(plane[part] - np.median(plane[part])) for part in parts if len(part) for plane in ab]
    return bool(2 * np.concatenate(squares).mean() <= MOST_SPREAD**2)


def tone_channel(pixels: np.ndarray) -> tuple[int, float]:
    """Choose the channel that is darkest once the paper is neutral, and the gain that makes the paper neutral.

    The paper becomes a grey at the level of its largest channel, which the stain has darkened least. Among channels
    that are equally dark within one level, as when the tint is a colored filter, the one with the smallest gain is
    chosen.

    Args:
        pixels: ``(H, W, 3)`` uint8 sRGB, small.
    Returns:
        Index of the channel, and its gain.
    """
    flat = pixels.reshape(-1, 3)
    L = lab(pixels)[0].ravel()
    lightest = np.quantile(L, 1 - WHITEST)
    paper = np.maximum(np.median(flat[lightest <= L], axis=0), 1)
    gains = paper.max() / paper
    means = np.minimum(flat * gains, 255).mean(axis=0)
    channel = min(np.flatnonzero(means <= means.min() + 1), key=gains.__getitem__)
    return int(channel), float(gains[channel])

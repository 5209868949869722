"""Toned prints, such as sepia and yellowed ones: told from color photographs, and their neutral tones.

A stain or a toner absorbs blue more than red, so a toned print's lightness is not its tone: on yellowed paper whites
are dull, and in the sepia of software they run together. The channel that is darkest when the paper is made white holds
most of the picture.
"""

import numpy as np

from colorize.inference.painting import PixelSource
from colorize.srgb import lab
from colorize.upsampling import Box

TINTS = ("auto", "keep", "remove")
REMOVED = "a toned print: its tint is removed"
SIDE = 128  # pixels of the longer side that is looked at; grain and JPEG's chroma are averaged away
TONES = 24  # parts, from dark to light, in each of which a toned print has one color
# Of 10,000 color photographs 22 have less spread, 12 of these with such hues, and 8 of those are toned prints. Of noisy
# scans of 1024x1024 in sepia and on yellowed paper, saved as JPEG of quality 60, 99% have less; small files at low
# quality are taken for color: of sepia ones of 256x256, saved at 20 to 60, 37 of 100 are told
MOST_SPREAD = 2.5  # root mean square distance of a and b from the median of their tone
LEAST_TINT, MOST_TINT = 3, 30  # chroma of the mean color: less changes no lightness, more is that of colored light
HUES = 20, 110  # degrees, of the mean color: reddish brown to greenish yellow; a blue sky has one color for a tone, too
WHITEST = 0.01  # share of the pixels that are taken for the paper


class Untinted:
    """A toned print as a grey `PixelSource`.

    Args:
        source: the print, in color.
        channel: 0, 1 or 2, the one whose levels are its tones.
        gain: by which they are multiplied.
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
    """Return the picture whose lightness is to be kept.

    Args:
        source: a picture.
        tint: ``auto`` takes the tint of a toned print away, ``remove`` of any picture in color, ``keep`` of none.
    Returns:
        the picture itself, or its neutral tones.
    """
    if tint == "keep":
        return source
    shrunk = min(1, SIDE / max(source.size))
    pixels = source.small(tuple(max(1, round(side * shrunk)) for side in source.size))
    if pixels.ndim == 2 or (tint == "auto" and not is_toned(pixels)):
        return source
    return Untinted(source, *tone_channel(pixels))


def is_toned(pixels: np.ndarray) -> bool:
    """Tell whether a picture is monochrome in a warm tint: its color follows from its lightness.

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
    """Choose the channel that is darkest when the paper is white, and the gain that makes the paper so.

    The paper's white becomes a grey of its own largest channel, which its stain has dimmed least. Of channels that are
    equally dark within a level, as where the tint is a colored filter, the one with the least gain is taken.

    Args:
        pixels: ``(H, W, 3)`` uint8 sRGB, small.
    """
    flat = pixels.reshape(-1, 3)
    L = lab(pixels)[0].ravel()
    lightest = np.quantile(L, 1 - WHITEST)
    paper = np.maximum(np.median(flat[lightest <= L], axis=0), 1)
    gains = paper.max() / paper
    means = np.minimum(flat * gains, 255).mean(axis=0)
    channel = min(np.flatnonzero(means <= means.min() + 1), key=gains.__getitem__)
    return int(channel), float(gains[channel])

"""Read true pictures and the outputs of methods, as RGB and Lab under a protocol."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from colorize.base.digests import sha256
from colorize.images import is_near_grey, read_rgb
from colorize.metrics.image import colorfulness_pair
from colorize.scoring.protocols import Protocol
from colorize.srgb import clipped, lab


@dataclass
class Truth:
    """A true picture.

    Attributes:
        rgb: Pixels at the size of the comparison, ``(3, H, W)`` uint8.
        own: Height and width of the file.
        digest: Digest of the file, see `short_digest`.
        pixels: Decoded pixels, ``(h, w, 3)`` uint8; None if not needed.
    """

    rgb: np.ndarray
    own: tuple[int, int]
    digest: str
    pixels: np.ndarray | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the comparison."""
        return self.rgb.shape[1:]

    @cached_property
    def lab(self) -> np.ndarray:
        """Lab of the picture, ``(3, H, W)`` float32."""
        return lab(self.rgb.transpose(1, 2, 0))

    @cached_property
    def colorfulness(self) -> tuple[float, float]:
        """Colorfulness by Hasler and Süsstrunk 2003, and ``colorfulness_abs`` of published tables."""
        original, absolute = colorfulness_pair(torch.from_numpy(self.rgb)[None])
        return original.item(), absolute.item()

    @cached_property
    def grey(self) -> bool:
        """Whether the picture has almost no color."""
        return is_near_grey(self.rgb.transpose(1, 2, 0))


@dataclass
class Colored:
    """Output of a method for a true picture.

    Attributes:
        L: L* that the chroma is combined with, ``(H, W)`` float32.
        ab: Chroma in Lab units, ``(2, H, W)`` float32.
        rgb: Pixels, ``(3, H, W)`` uint8.
        outside: Share of pixels outside the sRGB gamut, before clipping.
        lightness_error: Mean absolute difference of the method's own L* from the truth's; None if it predicts no L.
        notes: Properties that are counted, such as ``grey``.
    """

    L: np.ndarray
    ab: np.ndarray
    rgb: np.ndarray
    outside: float
    lightness_error: float | None = None
    notes: tuple[str, ...] = ()


def read_truth(path: Path, protocol: Protocol, keep: bool = False) -> Truth:
    """Read a true picture.

    Args:
        path: Path of the picture.
        protocol: Protocol of the comparison.
        keep: Whether to keep the decoded pixels.
    Raises:
        ImageError: If the picture is damaged.
    """
    pixels = np.array(read_rgb(path))
    return Truth(protocol.fitted(pixels), pixels.shape[:2], short_digest(path), pixels if keep else None)


def read_output(path: Path, truth: Truth, protocol: Protocol) -> Colored:
    """Read the picture of a method.

    Raises:
        ImageError: If the picture is damaged.
        ValueError: If the picture cannot be compared, see `Protocol.fitted_to`.
    """
    rgb, resized = protocol.fitted_to(np.array(read_rgb(path)), truth.own, truth.size)
    own = lab(rgb.transpose(1, 2, 0))
    error = float(np.abs(own[0] - truth.lab[0]).mean())
    notes = ("resized",) if resized else ()
    if is_near_grey(rgb.transpose(1, 2, 0)):
        notes += ("grey",)
    if protocol.truth_L:
        return joined(truth, own[1:], error, notes)
    return Colored(own[0], own[1:], rgb, 0.0, error, notes)


def joined(truth: Truth, ab: np.ndarray, lightness_error: float | None = None, notes: tuple[str, ...] = ()) -> Colored:
    """Combine chroma with the truth's lightness, clip to sRGB and round.

    Args:
        truth: True picture.
        ab: Chroma in Lab units, ``(2, H, W)`` float32.
        lightness_error: See `Colored`.
        notes: See `Colored`.
    """
    L = truth.lab[0]
    rgb, outside = clipped(L, *ab)
    return Colored(L, ab, rgb, float(outside.mean()), lightness_error, notes)


def gained(colored: Colored, gain: float) -> Colored:
    """Multiply chroma by a gain and combine it with the same lightness again."""
    ab = colored.ab * np.float32(gain)
    rgb, outside = clipped(colored.L, *ab)
    return replace(colored, ab=ab, rgb=rgb, outside=float(outside.mean()))


def short_digest(path: Path) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of a file."""
    return sha256(path)[:16]

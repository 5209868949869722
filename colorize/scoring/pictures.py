"""A true picture and a method's colors of it, as they are compared: pixels, Lab, and what both are made of."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from colorize.base.digests import sha256
from colorize.images import is_near_grey, read_rgb
from colorize.metrics.image import colorfulness, colorfulness_abs
from colorize.scoring.protocols import Protocol
from colorize.srgb import clipped, lab


@dataclass
class Truth:
    """A true picture.

    Attributes:
        rgb: ``(3, H, W)`` uint8.
        own: height and width of its file.
        digest: of the file, see `short_digest`.
        pixels: ``(h, w, 3)`` uint8, as decoded; None where they are not needed.
    """

    rgb: np.ndarray
    own: tuple[int, int]
    digest: str
    pixels: np.ndarray | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, as it is compared."""
        return self.rgb.shape[1:]

    @cached_property
    def lab(self) -> np.ndarray:
        """``(3, H, W)`` float32."""
        return lab(self.rgb.transpose(1, 2, 0))

    @cached_property
    def colorfulness(self) -> tuple[float, float]:
        """Of 2003, and of published tables."""
        rgb = torch.from_numpy(self.rgb)[None]
        return colorfulness(rgb).item(), colorfulness_abs(rgb).item()

    @cached_property
    def grey(self) -> bool:
        """Whether it has almost no color."""
        return is_near_grey(self.rgb.transpose(1, 2, 0))


@dataclass
class Colored:
    """A method's colors of a true picture.

    Attributes:
        L: ``(H, W)`` float32, L* that the colors are joined with.
        ab: ``(2, H, W)`` float32 in Lab units.
        rgb: ``(3, H, W)`` uint8.
        outside: share of pixels that sRGB cannot show, before clipping.
        lightness_error: mean absolute difference of the method's own L* from the truth's; None where it gives no L.
        notes: what is to be counted, such as ``grey``.
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
        path: of it.
        protocol: that it is compared by.
        keep: the decoded pixels, too.
    Raises:
        ImageError: if it is damaged.
    """
    pixels = np.array(read_rgb(path))
    return Truth(protocol.fitted(pixels), pixels.shape[:2], short_digest(path), pixels if keep else None)


def read_output(path: Path, truth: Truth, protocol: Protocol) -> Colored:
    """Read a method's picture.

    Raises:
        ImageError: if it is damaged.
        ValueError: if it cannot be compared, see `Protocol.fitted_to`.
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
    """Join colors with the truth's lightness, clipped and rounded.

    Args:
        truth: whose lightness it is.
        ab: ``(2, H, W)`` float32 in Lab units.
        lightness_error: see `Colored`.
        notes: the same.
    """
    L = truth.lab[0]
    rgb, outside = clipped(L, *ab)
    return Colored(L, ab, rgb, float(outside.mean()), lightness_error, notes)


def gained(colored: Colored, gain: float) -> Colored:
    """Multiply chroma by a gain, and join it with the same lightness anew."""
    ab = colored.ab * np.float32(gain)
    rgb, outside = clipped(colored.L, *ab)
    return replace(colored, ab=ab, rgb=rgb, outside=float(outside.mean()))


def short_digest(path: Path) -> str:
    """Return 16 hexadecimal digits of a file's sha256."""
    return sha256(path)[:16]

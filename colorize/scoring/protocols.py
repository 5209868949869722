"""Protocols: what of a picture is compared, at which size, and whether with the truth's lightness."""

import re
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from colorize.base.checks import one_of
from colorize.base.errors import UserError
from colorize.data.decode import resized

ROUNDING = "to the nearest of 256 levels, after clipping to sRGB"
RESAMPLING = "bicubic with antialiasing (PyTorch, uint8)"


@dataclass(frozen=True)
class Protocol:
    """A protocol.

    Attributes:
        name: of it.
        about: what it is, in a line.
        size: pixels a side that pictures are stretched to; None leaves the truth at its own.
        crop: first take the square in the middle.
        truth_L: join the truth's lightness with a method's chroma; else a picture is taken as it is.
        images: how many a published figure is of; None where there are none.
        names: pattern of the names (see `colorize.scoring.matching`) that belong to it; None takes all.
        known: mean ``colorfulness_abs`` of the truth, where it is known.
    """

    name: str
    about: str
    size: int | None = None
    crop: bool = False
    truth_L: bool = True
    images: int | None = None
    names: str | None = None
    known: float | None = None

    def selected(self, names: list[str]) -> list[str]:
        """Return the names that belong to the protocol.

        Raises:
            UserError: if none does.
        """
        if self.names is None:
            return names
        kept = [name for name in names if re.search(self.names, name)]
        if not kept:
            raise UserError(f"protocol {self.name}: no picture is of it; the first is {names[0]}; use another protocol")
        return kept

    def complete(self, names: list[str]) -> bool:
        """Tell whether images are those of published figures, by their names and number."""
        pattern = self.names or COCO_NAME
        return len(names) == self.images and all(re.search(pattern, name) for name in names)

    def fitted(self, pixels: np.ndarray) -> np.ndarray:
        """Bring a picture to the size that is compared.

        Args:
            pixels: ``(H, W, 3)`` uint8.
        Returns:
            ``(3, h, w)`` uint8.
        """
        if self.crop:
            side = min(pixels.shape[:2])
            top, left = ((full - side) // 2 for full in pixels.shape[:2])
            pixels = pixels[top : top + side, left : left + side]
        height, width = (self.size, self.size) if self.size else pixels.shape[:2]
        return resized(pixels, height, width)

    def fitted_to(self, pixels: np.ndarray, own: tuple[int, int], truth: tuple[int, int]) -> tuple[np.ndarray, bool]:
        """Bring a method's picture to the size of the truth.

        Args:
            pixels: ``(H, W, 3)`` uint8.
            own: height and width of the truth's file.
            truth: of the truth as it is compared.
        Returns:
            ``(3, h, w)`` uint8, and whether it was of a size that the protocol does not expect: neither of these two.
        Raises:
            ValueError: if it cannot be compared: its size is another, and the protocol has no resampling.
        """
        shape = pixels.shape[:2]
        if shape == truth:
            return resized(pixels, *truth), False
        told = f"is {shape[1]}x{shape[0]}, the truth {truth[1]}x{truth[0]}"
        if not self.truth_L:
            raise ValueError(f"{told}, and protocol {self.name} resizes nothing")
        fits = self.fitted(pixels) if self.size else resized(pixels, *truth)
        return fits, shape != own

    def told(self) -> dict[str, Any]:
        """Return all that a result must say of it, as plain values."""
        return asdict(self) | {
            "resampling": RESAMPLING if self.size or self.truth_L else "none",
            "rounding": ROUNDING if self.truth_L else "none: pictures are taken as they are",
            "lightness": "the truth's" if self.truth_L else "the method's own",
        }


COCO_NAME = r"(^|/)\d{12}$"
PROTOCOLS = {
    each.name: each
    for each in (
        Protocol(
            "coco",
            "stretched to 256x256, the truth's lightness joined with a method's chroma; published figures are of "
            "COCO val2017's 5,000 images",
            size=256, images=5000, known=38.24,
        ),
        Protocol(
            "imagenet-val5k",
            "ILSVRC2012_val_00000001 to 00005000, the square in the middle at 256x256, the truth's lightness joined "
            "with a method's chroma",
            size=256, crop=True, images=5000, names=r"(^|/)ilsvrc2012_val_0000([0-4]\d{3}|5000)$", known=38.21,
        ),
        Protocol("as-is", "pictures as they are, at their own size and with their own lightness", truth_L=False),
        Protocol("full-size", "at the truth's size, its lightness joined with a method's chroma"),
    )
}  # fmt: skip


def protocol(name: str) -> Protocol:
    """Return the protocol of that name.

    Raises:
        UserError: if there is none.
    """
    return PROTOCOLS[one_of("protocol", name, PROTOCOLS)]

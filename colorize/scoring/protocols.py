"""Define protocols: which part of a picture is compared, at which size, and with whose lightness."""

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
    """Rules of a comparison.

    `told` is part of the file format: tables with different settings cannot be combined.

    Attributes:
        name: Name of the protocol.
        about: Description in one line.
        size: Side in pixels that pictures are resized to; None keeps the size of the truth.
        crop: Whether to take the center square first.
        truth_L: Whether to combine the method's chroma with the truth's lightness; otherwise pictures are unchanged.
        images: Number of images of published figures; None if there are none.
        names: Pattern of the names (see `colorize.scoring.matching`) that are included; None includes all.
        known: Published mean ``colorfulness_abs`` of the truth; None if unknown.
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
        """Return the names that the protocol includes.

        Raises:
            UserError: If it includes none.
        """
        if self.names is None:
            return names
        kept = [name for name in names if re.search(self.names, name)]
        if not kept:
            raise UserError(
                f"protocol {self.name}: it includes none of the pictures; the first is {names[0]}; use another protocol"
            )
        return kept

    def complete(self, names: list[str]) -> bool:
        """Return whether images are those of published figures, by their names and number."""
        pattern = self.names or COCO_NAME
        return len(names) == self.images and all(re.search(pattern, name) for name in names)

    def fitted(self, pixels: np.ndarray) -> np.ndarray:
        """Crop and resize a picture to the size of the comparison.

        Args:
            pixels: Picture, ``(H, W, 3)`` uint8.
        Returns:
            Picture of shape ``(3, h, w)``, uint8.
        """
        if self.crop:
            side = min(pixels.shape[:2])
            top, left = ((full - side) // 2 for full in pixels.shape[:2])
            pixels = pixels[top : top + side, left : left + side]
        height, width = (self.size, self.size) if self.size else pixels.shape[:2]
        return resized(pixels, height, width)

    def fitted_to(self, pixels: np.ndarray, own: tuple[int, int], truth: tuple[int, int]) -> tuple[np.ndarray, bool]:
        """Resize the picture of a method to the size of the truth.

        Args:
            pixels: Picture, ``(H, W, 3)`` uint8.
            own: Height and width of the truth's file.
            truth: Height and width of the truth in the comparison.
        Returns:
            Picture of shape ``(3, h, w)``, uint8, and whether its original size is neither ``own`` nor ``truth``.
        Raises:
            ValueError: If its size differs from the truth's and the protocol does not resample.
        """
        shape = pixels.shape[:2]
        if shape == truth:
            return resized(pixels, *truth), False
        told = f"is {shape[1]}x{shape[0]}, but the truth is {truth[1]}x{truth[0]}"
        if not self.truth_L:
            raise ValueError(f"{told}, and protocol {self.name} does not resize")
        fits = self.fitted(pixels) if self.size else resized(pixels, *truth)
        return fits, shape != own

    def told(self) -> dict[str, Any]:
        """Return the settings that a result records, as plain values."""
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
    """Return a protocol by name.

    Raises:
        UserError: If the name is unknown.
    """
    return PROTOCOLS[one_of("protocol", name, PROTOCOLS)]

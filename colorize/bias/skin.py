"""Detect skin pixels of a person by an explicit rule, and classify skin by its lightness.

**Rule.** A pixel inside the mask of a ``person`` is skin if its true color has Cb in [77, 127] and Cr in [133, 173],
YCbCr of ITU-R BT.601 with 8 bits (Chai and Ngan 1999, IEEE Transactions on Circuits and Systems for Video Technology
9(4)), its L* is from 15 to 95, and it lies in a 3x3 square of such pixels. Rules on R, G and B require a minimum R and
therefore exclude dark skin. This rule uses lightness only to exclude both extremes, where cameras record little color.
It also classifies brown, orange and pink clothes and hair as skin.

**Lightness.** Lightness L* and the individual typology angle, ITA = arctan((L* - 50) / b*) in degrees (Chardon et al.
1991), with the classes of Del Bino and Bernerd 2013. ITA is defined for skin under known light. In a
photograph it also depends on exposure, shadows and white balance: the bands classify pictures, not people.
"""

from typing import NamedTuple

import numpy as np
from scipy.ndimage import binary_opening

from colorize.srgb import lightness

CB, CR = (77, 127), (133, 173)
# sRGB in [0, 1] to Cb and Cr of BT.601 in [16, 240]
TO_CB = np.float32([-37.797, -74.203, 112.0])
TO_CR = np.float32([112.0, -93.786, -18.214])
L_RANGE = (15, 95)
SQUARE = np.ones((3, 3), bool)
LEAST_SKIN = 100  # minimum skin pixels of a person at SIDE x SIDE


class Band(NamedTuple):
    """A band of skin: ``low`` <= value < ``high``."""

    name: str
    low: float
    high: float


LIGHTNESS_BANDS = (
    Band("L* below 35", -np.inf, 35),
    Band("L* 35 to 50", 35, 50),
    Band("L* 50 to 65", 50, 65),
    Band("L* from 65", 65, np.inf),
)
ITA_BANDS = (
    Band("dark (ITA up to -30)", -np.inf, -30),
    Band("brown (-30 to 10)", -30, 10),
    Band("tan (10 to 28)", 10, 28),
    Band("intermediate (28 to 41)", 28, 41),
    Band("light (41 to 55)", 41, 55),
    Band("very light (over 55)", 55, np.inf),
)


def is_skin(rgb: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the mask of skin pixels by the rule above.

    Args:
        rgb: Picture, ``(H, W, 3)`` uint8.
        mask: Mask of a person, ``(H, W)`` bool.
    Returns:
        ``(H, W)`` bool.
    """
    scaled, L = rgb.astype(np.float32) / 255, lightness(rgb)
    planes = ((128 + scaled @ TO_CB, CB), (128 + scaled @ TO_CR, CR), (L, L_RANGE))
    inside = [(plane >= low) & (plane <= high) for plane, (low, high) in planes]
    return binary_opening(mask & np.logical_and.reduce(inside), SQUARE)


def typology_angle(L: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the individual typology angle in degrees; NaN where b* <= 0, where it is undefined.

    Args:
        L: L* in [0, 100], of any shape.
        b: b*, of the same shape.
    """
    b = np.where(np.asarray(b) > 0, b, np.nan)
    return np.degrees(np.arctan((np.asarray(L) - 50) / b))


def in_band(values: np.ndarray, band: Band) -> np.ndarray:
    """Return the mask of values in a band; NaN is in no band."""
    return (values >= band.low) & (values < band.high)

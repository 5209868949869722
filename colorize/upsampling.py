"""Upsample chroma from the network's size to the picture's, guided by its lightness so that colors do not bleed.

Bicubic interpolation plus detail: the detail that the full-size lightness has beyond the small one, times the local
slope of chroma against lightness in the small picture. This is the guided filter (He, Sun & Tang 2013; fast, with
slopes of the small picture: He & Sun 2015) in the form of pan-sharpening by regression, which preserves the small
chroma; the guided filter itself blurs it. `python -m benchmarks.edges` compares it with other methods.
"""

import numpy as np
from PIL import Image

WINDOW = (0.25, 0.5, 0.25)  # separable window of the regression: a Gaussian with a sigma of 0.7 small pixels
NOISE = 30.0  # L* squared, added to the window's variance, so that flat regions have no slope
PREFILTERS = 2  # iterations that sharpen the small planes by what bicubic interpolation will lose
FINE = 3  # multiple of the small size at which that loss is measured; it does not change at larger ones

Box = tuple[int, int, int, int]  # left, upper, right, lower, in the picture's pixels
BICUBIC, BILINEAR = Image.Resampling.BICUBIC, Image.Resampling.BILINEAR


class GuidedUpsampler:
    """Upsamples the chroma of a picture, block by block.

    Args:
        L: ``(h, w)`` float32, L* in [0, 100] of the small picture.
        ab: ``(2, h, w)`` float32, its chroma in Lab units.
        size: width and height of the full-size picture.
    """

    def __init__(self, L: np.ndarray, ab: np.ndarray, size: tuple[int, int]) -> None:
        self.size = size
        self.small_size = (L.shape[1], L.shape[0])
        self.slopes = _slopes(L, ab)
        self.planes = [self._prefiltered(Image.fromarray(np.ascontiguousarray(plane))) for plane in (L, *ab)]

    def block(self, box: Box, L: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return ``a`` and ``b`` of a block.

        Args:
            box: the block, in pixels of the full-size picture.
            L: ``(H, W)`` float32, L* in [0, 100] of the block at full size.
        Returns:
            Two ``(H, W)`` float32 in Lab units.
        """
        smooth_L, *smooth_ab = (self._enlarged(plane, box, BICUBIC) for plane in self.planes)
        detail = L - smooth_L
        return tuple(
            smooth + self._enlarged(slope, box, BILINEAR) * detail
            for smooth, slope in zip(smooth_ab, self.slopes, strict=True)
        )

    def _enlarged(self, plane: Image.Image, box: Box, method: Image.Resampling) -> np.ndarray:
        x, y = (small / full for small, full in zip(self.small_size, self.size, strict=True))
        source = (box[0] * x, box[1] * y, min(box[2] * x, plane.width), min(box[3] * y, plane.height))
        return np.asarray(plane.resize((box[2] - box[0], box[3] - box[1]), method, box=source))

    def _prefiltered(self, plane: Image.Image) -> Image.Image:
        """Sharpen a plane, so that enlarging it and shrinking it again gives the original plane."""
        fine = tuple(max(small, min(FINE * small, full)) for small, full in zip(plane.size, self.size, strict=True))
        if fine == plane.size:
            return plane
        target, result = np.asarray(plane), plane
        for _ in range(PREFILTERS):
            lost = target - np.asarray(result.resize(fine, BICUBIC).resize(plane.size, BICUBIC))
            result = Image.fromarray(np.asarray(result) + lost)
        return result


def _slopes(L: np.ndarray, ab: np.ndarray) -> list[Image.Image]:
    """Return the slopes of a and of b against L, by regression in a window around each pixel."""
    mean_L = _blurred(L)
    variance = _blurred(L * L) - mean_L**2
    covariances = [_blurred(L * plane) - mean_L * _blurred(plane) for plane in ab]
    return [Image.fromarray(covariance / (variance + NOISE)) for covariance in covariances]


def _blurred(plane: np.ndarray) -> np.ndarray:
    height, width = plane.shape
    padded = np.pad(plane, 1, mode="edge")
    down = sum(weight * padded[row : row + height] for row, weight in enumerate(WINDOW))
    return sum(weight * down[:, column : column + width] for column, weight in enumerate(WINDOW))

"""Augmentation of training images: random crops, and lightness changes that simulate film, aging and scanning."""

import math
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from colorize.base.checks import above, at_least, within
from colorize.base.seeds import seed_for
from colorize.data.damage import fade, jpeg, scratch
from colorize.lab import grey_to_l, l_ab_to_rgb
from colorize.srgb import L_SCALE

REC601 = (0.299, 0.587, 0.114)  # weights of R, G and B in luma
# Maximum weight of green on orthochromatic film, which is blind to red: 0 on plates sensitive to blue alone, 25% to 30%
# in daylight and 50% to 60% in lamp light (Great Soviet Encyclopedia, "Orthochromatic Materials"); at most Rec. 601's
# ratio of green to blue, with a yellow filter
MOST_GREEN = REC601[1] / (REC601[1] + REC601[2])
WHITE_FADES = 0.5  # relative to black: silver loses its density of 2 or more, paper yellows by 0.1 to 0.2
LEAST_FADED = 0.5  # minimum factor of the fading at a corner
SPECKS = 4  # maximum number of dust specks per scratch
LEAN = 0.1  # maximum slant of a scratch in columns per row: 6 degrees
BLUR_REACH = 3  # standard deviations; 0.3% of a Gaussian lie beyond
SINGLE, MARK = 17, 6  # columns of `Drawn` before the marks, and columns per mark


class Drawn(NamedTuple):
    """The random parameters of a batch's augmentation.

    Attributes:
        values: ``(B, 17 + 6 * K)`` float32: side, top and left of the crop over the image's; weights of R, G and B;
            standard deviation of the blur; gamma; standard deviation of the noise; 1 for orthochromatic film; black,
            white and four corners of the fading; quality of the JPEG; and K marks, see `scratch`.
        noise_seed: seed of the noise values.
    """

    values: Tensor
    noise_seed: int


@dataclass(frozen=True)
class Augment:
    """Augmentation of training images; each transform is off if its argument is ``None``.

    Crops apply to ``L`` and to the true ab; the others only to ``L``, the input of G and D.

    Args:
        crop: minimum side of a random square crop over the image's, in (0, 1]; it is resized back (bilinear: always
            an upsampling, so that it cannot alias).
        grey_weights: concentration, above 0, of the Dirichlet distribution around Rec. 601 that the weights of R, G and
            B are drawn from; L is the lightness of their weighted sum instead of the color image's.
        L_blur: maximum standard deviation in pixels, above 0, of a Gaussian blur; uniform from 0.
        L_gamma: maximum exponent, at least 1, of lightness in [0, 1]; log-uniform from 1/L_gamma.
        L_noise: maximum standard deviation in units of L*, above 0, of Gaussian noise; uniform from 0.
        orthochromatic: fraction of images, above 0 and at most 1, that simulate film which is blind to red: L is the
            lightness of a weighted sum of G and B alone, which replaces ``grey_weights`` there. The weight of green is
            uniform from 0 to ``MOST_GREEN``.
        L_fade: maximum increase of black in L*, above 0 and at most 60, uniform from 0; white loses up to half as much,
            drawn independently. Both are multiplied at each corner by a uniform factor of at least 0.5.
        L_scratches: maximum number of scratches, an integer of at least 1, uniform from 0, and up to four times as many
            specks; black or white, with opacity 30% to 100%; scratches are 0.5 to 2 pixels wide, specks 1 to 4.
        L_jpeg: minimum JPEG quality, an integer from 1 to 100; uniform up to 100.
    Raises:
        UserError: if a value is out of range.
    """

    crop: float | None = None
    grey_weights: float | None = None
    L_blur: float | None = None
    L_gamma: float | None = None
    L_noise: float | None = None
    orthochromatic: float | None = None
    L_fade: float | None = None
    L_scratches: int | None = None
    L_jpeg: int | None = None

    def __post_init__(self) -> None:
        off = {"also": (None,)}
        for name, most in (("crop", 1), ("orthochromatic", 1), ("L_fade", 60)):
            within(f"data.augment.{name}", getattr(self, name), 0, most, "(]", **off)
        for name in ("grey_weights", "L_blur", "L_noise"):
            above(f"data.augment.{name}", getattr(self, name), 0, **off)
        at_least("data.augment.L_gamma", self.L_gamma, 1, **off)
        at_least("data.augment.L_scratches", self.L_scratches, 1, whole=True, **off)
        within("data.augment.L_jpeg", self.L_jpeg, 1, 100, whole=True, **off)

    def __bool__(self) -> bool:
        return any(value is not None for value in asdict(self).values())

    def draw(self, count: int, seed: int, epoch: int) -> Tensor:
        """Draw the parameters of an epoch; transforms use separate seeds, so that they do not depend on each other.

        Args:
            count: number of images in the epoch.
            seed: seed of the run.
            epoch: from 0.
        Returns:
            ``(count, 17 + 6 * K)`` float32, see `Drawn`.
        """

        def generator(kind: str) -> np.random.Generator:
            return np.random.default_rng(seed_for("augment", kind, seed, epoch))

        side, top, left = generator("crop").random((3, count))
        side = 1 - (1 - (self.crop or 1)) * side
        weights = generator("grey").dirichlet(np.array(REC601) * (self.grey_weights or 1), count)
        sigma = (self.L_blur or 0) * generator("blur").random(count)
        gamma = (self.L_gamma or 1) ** generator("gamma").uniform(-1, 1, count)
        noise = (self.L_noise or 0) * generator("noise").random(count)
        chosen, green = generator("orthochromatic").random((2, count))
        film = chosen < (self.orthochromatic or 0)
        weights[film] = np.stack([0 * green, MOST_GREEN * green, 1 - MOST_GREEN * green], axis=1)[film]
        black, white, *corners = generator("fade").random((6, count))
        black, white = ((self.L_fade or 0) * most * share for most, share in ((1, black), (WHITE_FADES, white)))
        corners = [LEAST_FADED + (1 - LEAST_FADED) * corner for corner in corners]
        quality = generator("jpeg").integers(int(self.L_jpeg or 100), 101, count)
        columns = [side, (1 - side) * top, (1 - side) * left, *weights.T, sigma, gamma, noise]
        columns += [film, black, white, *corners, quality]
        marks = self._marks(count, generator("scratches"))
        return torch.from_numpy(np.column_stack([*columns, marks])).float()

    def _marks(self, count: int, generator: np.random.Generator) -> np.ndarray:
        """Draw scratches, then specks, ``(count, 6 * K)``; unused ones have opacity 0."""
        most = int(self.L_scratches or 0)
        kinds = []
        for number, length, slant, thinnest, widest in ((most, 1, LEAN, 0.5, 2), (SPECKS * most, 0, 0, 1, 4)):
            x, y, long, lean, wide, opaque = generator.random((MARK, count, number))
            there = np.arange(number) < generator.integers(0, number + 1, (count, 1))
            tone = (0.3 + 0.7 * opaque) * generator.choice([-1, 1], (count, number)) * there
            wide = thinnest + (widest - thinnest) * wide
            kinds.append(np.stack([x, y, length * long, slant * (2 * lean - 1), wide, tone], axis=2))
        return np.concatenate(kinds, axis=1).reshape(count, -1)

    def __call__(self, L: Tensor, ab: Tensor, drawn: Drawn) -> tuple[Tensor, Tensor]:
        """Augment a batch on its device, without synchronizing it.

        Args:
            L: ``(B, 1, H, W)`` float32 in [-1, 1].
            ab: ``(B, 2, H, W)`` float32 in [-1, 1].
            drawn: ``values`` on the same device.
        Returns:
            L and ab of the same shapes and ranges.
        """
        single, marks = drawn.values[:, :SINGLE], drawn.values[:, SINGLE:]
        side, top, left, *weights, sigma, gamma, noise, film, black, white = single[:, :12].unbind(1)  # (B,) each
        corners, quality = single[:, 12:16], single[:, 16]
        if self.crop is not None:
            L, ab = crop(torch.cat([L, ab], dim=1), side, top, left).split([1, 2], dim=1)
        if self.grey_weights is not None or self.orthochromatic is not None:
            channels = l_ab_to_rgb(L, ab).split(1, dim=1)
            grey = grey_to_l(sum(_each(weight) * channel for weight, channel in zip(weights, channels, strict=True)))
            L = grey if self.grey_weights is not None else torch.where(_each(film) > 0, grey, L)
        if self.L_blur is not None:
            L = blur(L, sigma, math.ceil(BLUR_REACH * self.L_blur))
        if self.L_gamma is not None:
            L = 2 * ((L + 1) / 2).clamp(0, 1) ** _each(gamma) - 1
        if self.L_noise is not None:
            generator = torch.Generator(L.device).manual_seed(drawn.noise_seed)
            normal = torch.randn(L.shape, generator=generator, device=L.device)
            L = (L + _each(noise / L_SCALE) * normal).clamp(-1, 1)
        if self.L_fade is not None:
            L = fade(L, black, white, corners)
        if self.L_scratches is not None:
            L = scratch(L, marks.unflatten(1, (-1, MARK)))
        if self.L_jpeg is not None:
            L = jpeg(L, quality)
        return L, ab


def crop(x: Tensor, side: Tensor, top: Tensor, left: Tensor) -> Tensor:
    """Crop a square of each image and resize it to the image's size, bilinearly.

    Args:
        x: ``(B, C, H, W)`` float32.
        side: ``(B,)`` side of the crop over the image's.
        top: ``(B,)`` top edge of the crop over the image's height.
        left: ``(B,)`` left edge of the crop over the image's width.
    """

    def places(start: Tensor, count: int) -> Tensor:
        centers = (torch.arange(count, device=x.device) + 0.5) / count
        return 2 * (start[:, None] + side[:, None] * centers) - 1  # (B, count); grid_sample's coordinates are [-1, 1]

    height, width = x.shape[2:]
    rows, columns = places(top, height)[:, :, None], places(left, width)[:, None]
    grid = torch.stack([columns.expand(-1, height, -1), rows.expand(-1, -1, width)], dim=-1)  # (B, H, W, 2)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def blur(x: Tensor, sigma: Tensor, radius: int) -> Tensor:
    """Blur each image with its own Gaussian, with reflect padding.

    Args:
        x: ``(B, C, H, W)`` float32.
        sigma: ``(B,)`` standard deviations in pixels.
        radius: radius in pixels at which the Gaussian is truncated.
    """
    for axis in (2, 3):
        count = x.shape[axis]
        reach = min(radius, count - 1)
        offsets = torch.arange(-reach, reach + 1, device=x.device)
        weights = torch.exp(-0.5 * (offsets / sigma.clamp(min=1e-3)[:, None]).square())
        weights = weights / weights.sum(1, keepdim=True)  # (B, 2 * reach + 1)
        padded = F.pad(x, (0, 0, reach, reach) if axis == 2 else (reach, reach, 0, 0), mode="reflect")
        # Not a convolution, which cuDNN computes in TF32
        x = sum(_each(weight) * padded.narrow(axis, start, count) for start, weight in enumerate(weights.unbind(1)))
    return x


def _each(values: Tensor) -> Tensor:
    return values[:, None, None, None]

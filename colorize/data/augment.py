"""Changes of training images: random crops, and lightness as other cameras, films and scanners would have it."""

import math
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from colorize.errors import UserError
from colorize.lab import grey_to_l, l_ab_to_rgb
from colorize.seeds import seed_for
from colorize.srgb import L_SCALE

REC601 = (0.299, 0.587, 0.114)  # of R, G and B in luma
BLUR_REACH = 3  # standard deviations; 0.3% of a Gaussian lie beyond


class Drawn(NamedTuple):
    """What was drawn for the images of a batch.

    Attributes:
        values: ``(B, 9)`` float32: side, top and left of the crop over the image's; weights of R, G and B; standard
            deviation of the blur; gamma; standard deviation of the noise.
        noise_seed: of the noise itself.
    """

    values: Tensor
    noise_seed: int


@dataclass(frozen=True)
class Augment:
    """Changes of images in training, each off where it is ``None``.

    Crops touch ``L`` and the truth's ab alike; the others only ``L``, as G and D are given it.

    Args:
        crop: least side of a random square crop over the image's, in (0, 1]; it is resized back (bilinear: always
            an enlargement, so there is nothing to alias).
        grey_weights: concentration, above 0, of the Dirichlet distribution around Rec. 601 that the weights of R, G and
            B are drawn from; L is the lightness of their sum in place of that of the color picture.
        L_blur: largest standard deviation in pixels, above 0, of a Gaussian blur; they are uniform from 0 on.
        L_gamma: largest exponent of lightness in [0, 1], at least 1; its logarithm is uniform, from that of 1/L_gamma.
        L_noise: largest standard deviation in units of L*, above 0, of Gaussian noise; they are uniform from 0 on.
    Raises:
        UserError: if a value will not do.
    """

    crop: float | None = None
    grey_weights: float | None = None
    L_blur: float | None = None
    L_gamma: float | None = None
    L_noise: float | None = None

    def __post_init__(self) -> None:
        fits = {
            "crop": ("above 0 and at most 1", lambda value: 0 < value <= 1),
            "L_gamma": ("at least 1", lambda value: value >= 1),
        }
        for name, value in asdict(self).items():
            what, fit = fits.get(name, ("above 0", lambda value: value > 0))
            number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            if value is not None and not (number and fit(value)):
                raise UserError(f"data.augment.{name} must be null or {what}; got {value}")

    def __bool__(self) -> bool:
        return any(value is not None for value in asdict(self).values())

    def draw(self, count: int, seed: int, epoch: int) -> Tensor:
        """Draw for each position of an epoch, each kind by itself, so that one does not depend on which others are on.

        Returns:
            ``(count, 9)`` float32, as `Drawn` says.
        """

        def generator(kind: str) -> np.random.Generator:
            return np.random.default_rng(seed_for("augment", kind, seed, epoch))

        side, top, left = generator("crop").random((3, count))
        side = 1 - (1 - (self.crop or 1)) * side
        weights = generator("grey").dirichlet(np.array(REC601) * (self.grey_weights or 1), count)
        sigma = (self.L_blur or 0) * generator("blur").random(count)
        gamma = (self.L_gamma or 1) ** generator("gamma").uniform(-1, 1, count)
        noise = (self.L_noise or 0) * generator("noise").random(count)
        columns = [side, (1 - side) * top, (1 - side) * left, *weights.T, sigma, gamma, noise]
        return torch.from_numpy(np.stack(columns, axis=1)).float()

    def __call__(self, L: Tensor, ab: Tensor, drawn: Drawn) -> tuple[Tensor, Tensor]:
        """Change a batch, on its device and without waiting for it.

        Args:
            L: ``(B, 1, H, W)`` float32 in [-1, 1].
            ab: ``(B, 2, H, W)`` float32 in [-1, 1].
            drawn: ``values`` on the same device.
        Returns:
            L and ab of the same shapes and ranges.
        """
        side, top, left, *weights, sigma, gamma, noise = drawn.values.unbind(1)  # (B,) each
        if self.crop is not None:
            L, ab = crop(torch.cat([L, ab], dim=1), side, top, left).split([1, 2], dim=1)
        if self.grey_weights is not None:
            channels = l_ab_to_rgb(L, ab).split(1, dim=1)
            L = grey_to_l(sum(_each(weight) * channel for weight, channel in zip(weights, channels, strict=True)))
        if self.L_blur is not None:
            L = blur(L, sigma, math.ceil(BLUR_REACH * self.L_blur))
        if self.L_gamma is not None:
            L = 2 * ((L + 1) / 2).clamp(0, 1) ** _each(gamma) - 1
        if self.L_noise is not None:
            generator = torch.Generator(L.device).manual_seed(drawn.noise_seed)
            normal = torch.randn(L.shape, generator=generator, device=L.device)
            L = (L + _each(noise / L_SCALE) * normal).clamp(-1, 1)
        return L, ab


def crop(x: Tensor, side: Tensor, top: Tensor, left: Tensor) -> Tensor:
    """Enlarge a square of each image to the image's size, bilinearly.

    Args:
        x: ``(B, C, H, W)`` float32.
        side: ``(B,)``, over the image's.
        top: the same, of what is left out above.
        left: the same, at the left.
    """

    def places(start: Tensor, count: int) -> Tensor:
        centers = (torch.arange(count, device=x.device) + 0.5) / count
        return 2 * (start[:, None] + side[:, None] * centers) - 1  # (B, count); grid_sample's image is [-1, 1]

    height, width = x.shape[2:]
    rows, columns = places(top, height)[:, :, None], places(left, width)[:, None]
    grid = torch.stack([columns.expand(-1, height, -1), rows.expand(-1, -1, width)], dim=-1)  # (B, H, W, 2)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def blur(x: Tensor, sigma: Tensor, radius: int) -> Tensor:
    """Blur each image by a Gaussian of its own; beyond the edges the image is mirrored.

    Args:
        x: ``(B, C, H, W)`` float32.
        sigma: ``(B,)`` standard deviations in pixels.
        radius: pixels from the middle to where the Gaussian is cut off.
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

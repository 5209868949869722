"""Scores of RGB images, one value per image: fidelity to the original and colorfulness."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from colorize.base.errors import UserError

PEAK = 255  # largest uint8 value
SSIM_WINDOW = 7  # pixels a side
SSIM_PLANES = 24  # single-channel planes at a time: 3 MB each at 256x256


def psnr(out: Tensor, target: Tensor) -> Tensor:
    """Compute the peak signal-to-noise ratio of each image, over all channels.

    Identical images would score infinity, which would make every mean infinite; they score as if one value differed by
    one level, the maximum for two different images: 101.1 dB at 256x256.

    Args:
        out: ``(B, 3, H, W)`` uint8.
        target: same as ``out``.
    Returns:
        ``(B,)`` float32 in dB.
    Raises:
        ValueError: if the two are not uint8 images of the same shape.
    """
    check_rgb(out, target)
    squares = (out.short() - target.short()).flatten(1).float().square_().sum(1)
    return 10 * torch.log10(PEAK**2 * out.shape[1:].numel() / squares.clamp(min=1))


def ssim(out: Tensor, target: Tensor) -> Tensor:
    """Compute the structural similarity of each image, with the defaults of ``skimage.metrics.structural_similarity``.

    These are a uniform 7x7 window, sample covariance, no border, and the mean of the three channels. Window sums are
    exact integers; the rest is float32.

    Args:
        out: ``(B, 3, H, W)`` uint8, both sides at least 7.
        target: same as ``out``.
    Returns:
        ``(B,)`` float32 in [-1, 1]; 1 means identical.
    Raises:
        ValueError: if the two are not uint8 images of the same shape.
        UserError: if the images are smaller than the window.
    """
    check_rgb(out, target)
    height, width = out.shape[2:]
    if min(height, width) < SSIM_WINDOW:
        raise UserError(f"image is {height}x{width}; SSIM needs at least {SSIM_WINDOW}x{SSIM_WINDOW}")
    pairs = (x.flatten(0, 1).short() for x in (out, target))
    if out.device.type == "cpu":  # a plane fits into a core's cache, and NumPy takes half the time of torch
        planes = torch.tensor(
            [_ssim(x[None], y[None]).item() for x, y in zip(*(x.numpy() for x in pairs), strict=True)]
        )
    else:
        planes = torch.cat([_ssim(x, y) for x, y in zip(*(x.split(SSIM_PLANES) for x in pairs), strict=True)])
    return planes.view(-1, 3).mean(1)


def _ssim(x: Any, y: Any) -> Any:
    """Compute the SSIM ``(P,)`` of planes ``(P, H, W)`` int16, both in NumPy or both in torch.

    With p = x + y and q = x - y, whose window sums fit into int16, 4xy = p^2 - q^2 and 2(x^2 + y^2) = p^2 + q^2.
    """
    n = SSIM_WINDOW**2
    c1, c2 = np.float32(2 * (0.01 * PEAK * n) ** 2), np.float32(2 * n * (n - 1) * (0.03 * PEAK) ** 2)
    (height, width), x, y = x.shape[1:], x.reshape(len(x), -1), y.reshape(len(y), -1)
    (mean_p, spread_p), (mean_q, spread_q) = (_window_moments(plane, width) for plane in (x + y, x - y))
    as_float = (lambda values: values.astype(np.float32)) if isinstance(x, np.ndarray) else Tensor.float
    above, below = as_float(mean_p - mean_q), as_float(mean_p + mean_q)
    above += c1
    below += c1
    for side, spread in ((above, spread_p - spread_q), (below, spread_p + spread_q)):
        side *= as_float(spread) + c2
    above /= below
    inside = width - SSIM_WINDOW + 1
    rows = above[:, : (height - SSIM_WINDOW) * width].reshape(len(x), height - SSIM_WINDOW, width)[..., :inside]
    return (rows.sum((1, 2)) + above[:, -inside:].sum(1)) / (inside * (height - SSIM_WINDOW + 1))


def _window_moments(x: Any, width: int) -> tuple[Any, Any]:
    """Compute of each window of int16 planes the squared sum, and the variance times n^2: both fit into int32."""
    as_int32 = (lambda values: values.astype(np.int32)) if isinstance(x, np.ndarray) else Tensor.int
    sums, squares = as_int32(_window_sums(x, width)), as_int32(x)
    squares *= squares
    squares = _window_sums(squares, width)
    squares *= SSIM_WINDOW**2
    sums *= sums
    squares -= sums
    return sums, squares


def _window_sums(x: Any, width: int) -> Any:
    """Compute the window sums of planes ``(P, H * W)``; ignore those of windows that cross the right end of a row.

    Returns:
        ``(P, H * W - 6 * W - 6)``: planes are flat, so that additions run over long contiguous arrays.
    """
    for step in (1, width):
        count = x.shape[1] - 6 * step
        pairs = x[:, step:] + x[:, :-step]
        sums = pairs[:, :count] + pairs[:, 2 * step : 2 * step + count]
        sums += pairs[:, 4 * step : 4 * step + count]
        sums += x[:, 6 * step :]
        x = sums
    return x


def colorfulness(rgb: Tensor) -> Tensor:
    """Compute the colorfulness M3 of each image (Hasler and Suesstrunk 2003): 0 for grey, about 40 for photographs.

    Args:
        rgb: ``(B, 3, H, W)`` uint8.
    Returns:
        ``(B,)`` float32, at least 0.
    Raises:
        ValueError: if ``rgb`` has another shape or dtype.
    """
    check_rgb(rgb)
    return hasler_suesstrunk(rgb.float())


def colorfulness_abs(rgb: Tensor) -> Tensor:
    """Compute the colorfulness of each image as in the code of colorization papers (CT2, ColorFormer, DDColor).

    Unlike Hasler and Suesstrunk 2003, it takes the absolute values of the two opponent channels; the tables of those
    papers report this variant.

    Args:
        rgb: ``(B, 3, H, W)`` uint8.
    Returns:
        ``(B,)`` float32, at least 0.
    Raises:
        ValueError: if ``rgb`` has another shape or dtype.
    """
    check_rgb(rgb)
    return _spread(*_mean_and_variance(_opponents(rgb.float()).abs_()))


def colorfulness_pair(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """Compute `colorfulness` and `colorfulness_abs`, in less time than one after the other.

    Args:
        rgb: ``(B, 3, H, W)`` uint8.
    Returns:
        two of ``(B,)`` float32.
    Raises:
        ValueError: if ``rgb`` has another shape or dtype.
    """
    check_rgb(rgb)
    opponents = _opponents(rgb.float())
    mean, variance = _mean_and_variance(opponents)
    mean_abs = opponents.abs_().mean(2)
    variance_abs = (variance + mean.square() - mean_abs.square()).clamp(min=0)  # |x| and x have the same mean square
    return _spread(mean, variance), _spread(mean_abs, variance_abs)


def hasler_suesstrunk(rgb: Tensor, smooth: float = 0.0) -> Tensor:
    """Compute the colorfulness M3 of each image, differentiable.

    Args:
        rgb: ``(B, 3, H, W)`` float in [0, 255].
        smooth: added under the square roots, so that grey images have a gradient.
    Returns:
        ``(B,)``, at least 0.
    """
    return _spread(*_mean_and_variance(_opponents(rgb)), smooth)


def _opponents(rgb: Tensor) -> Tensor:
    red, green, blue = rgb.flatten(2).unbind(1)
    return torch.stack([red - green, (red + green) / 2 - blue], 1)  # (B, 2, H*W)


def _mean_and_variance(opponents: Tensor) -> tuple[Tensor, Tensor]:
    """Return the means and variances ``(B, 2)`` of planes ``(B, 2, N)``."""
    mean = opponents.mean(2, keepdim=True)
    return mean[..., 0], (opponents - mean).square().mean(2)


def _spread(mean: Tensor, variance: Tensor, smooth: float = 0.0) -> Tensor:
    return (variance.sum(1) + smooth).sqrt() + 0.3 * (mean.square().sum(1) + smooth).sqrt()


def check_rgb(*images: Tensor) -> None:
    """Check that all inputs are uint8 RGB batches ``(B, 3, H, W)`` of the same shape.

    Raises:
        ValueError: if not; it names the shapes and dtypes.
    """
    got = [f"{tuple(image.shape)} {image.dtype}" for image in images]
    fits = all(image.ndim == 4 and image.shape[1] == 3 and image.dtype == torch.uint8 for image in images)
    if not fits or len(set(got)) > 1:
        raise ValueError(f"expected (B, 3, H, W) uint8 of one shape; got {' and '.join(got)}")

"""Guided upsampling of chroma along the edges of the lightness: `colorize.upsampling` in torch."""

import torch
import torch.nn.functional as F
from torch import Tensor

from colorize.srgb import L_SCALE
from colorize.upsampling import NOISE, WINDOW


def enlarged(ab: Tensor, L: Tensor, stride: int) -> Tensor:
    """Upsample chroma, and add the lightness's detail times the local slope of chroma against lightness.

    This is the fast guided filter (He & Sun 2015) in the form of regression-based pan-sharpening, as in
    `GuidedUpsampler`, with bilinear interpolation.

    Args:
        ab: ``(B, 2, h, w)`` in [-1, 1].
        L: ``(B, 1, stride * h, stride * w)`` in [-1, 1].
        stride: the scale factor.
    Returns:
        ``(B, 2, stride * h, stride * w)`` in [-1, 1].
    """
    if stride == 1:
        return ab
    ab, L = ab.float().contiguous(), L.float().contiguous()  # with two channels, channels_last is 4 times slower
    small = F.avg_pool2d(L, stride)
    mean_L, mean_ab = _blurred(small), _blurred(ab)
    variance = _blurred(small.square()) - mean_L.square()
    slope = (_blurred(small * ab) - mean_L * mean_ab) / (variance + NOISE / L_SCALE**2)
    smooth, slope, smooth_L = (
        F.interpolate(plane, L.shape[2:], mode="bilinear", align_corners=False) for plane in (ab, slope, small)
    )
    return (smooth + slope * (L - smooth_L)).clamp(-1, 1)


def _blurred(x: Tensor) -> Tensor:
    window = torch.tensor(WINDOW, device=x.device)
    kernel = (window[:, None] * window).expand(x.shape[1], 1, -1, -1)
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), kernel, groups=x.shape[1])

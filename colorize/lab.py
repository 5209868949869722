"""Color math: convert sRGB images to and from normalized CIE Lab, in float32 on the images' device."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from kornia.color import lab_to_rgb, rgb_to_lab
from torch import Tensor
from torch.overrides import TorchFunctionMode

from colorize.srgb import AB_SCALE, DELTA, L_SCALE

GAMUT_TOLERANCE = 0.5 / 255  # a channel this far outside [0, 1] still rounds to a valid uint8 value


def rgb_to_l_ab(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """Split sRGB images into normalized CIE Lab lightness and chroma (D65, 2 degree observer).

    Args:
        rgb: ``(B, 3, H, W)`` float in [0, 1].
    Returns:
        ``L`` ``(B, 1, H, W)`` and ``ab`` ``(B, 2, H, W)``, both float32 in [-1, 1].
    Raises:
        ValueError: if ``rgb`` is not a 4-D float tensor with 3 channels.
    """
    if rgb.ndim != 4 or rgb.shape[1] != 3 or not rgb.is_floating_point():
        raise ValueError(f"expected (B, 3, H, W) float in [0, 1]; got {tuple(rgb.shape)} {rgb.dtype}")
    with _full_precision(rgb), _Float32():  # bf16 Lab is off by up to 3 units
        lab = rgb_to_lab(rgb.float())
    return lab[:, :1] / L_SCALE - 1, lab[:, 1:] / AB_SCALE


def l_ab_to_lab(L: Tensor, ab: Tensor) -> Tensor:
    """Convert normalized lightness and chroma to CIE Lab units.

    Args:
        L: ``(B, 1, H, W)`` in [-1, 1].
        ab: ``(B, 2, H, W)`` in [-1, 1].
    Returns:
        ``(B, 3, H, W)`` float32 CIE Lab: L* in [0, 100], a* and b* in [-110, 110].
    Raises:
        ValueError: if the shapes do not fit each other.
    """
    if L.ndim != 4 or ab.ndim != 4 or L.shape[1] != 1 or ab.shape[1] != 2 or L[:, 0].shape != ab[:, 0].shape:
        raise ValueError(f"expected L (B, 1, H, W) and ab (B, 2, H, W); got {tuple(L.shape)} and {tuple(ab.shape)}")
    return torch.cat([(L.float() + 1) * L_SCALE, ab.float() * AB_SCALE], dim=1)


def l_ab_to_rgb(L: Tensor, ab: Tensor) -> Tensor:
    """Join normalized lightness and chroma into sRGB images; colors outside of the gamut are clipped.

    Args:
        L: ``(B, 1, H, W)`` in [-1, 1].
        ab: ``(B, 2, H, W)`` in [-1, 1].
    Returns:
        ``(B, 3, H, W)`` float32 in [0, 1].
    Raises:
        ValueError: if the shapes do not fit each other.
    """
    return _unclipped_rgb(L, ab).clamp(0, 1)


def l_to_grey(L: Tensor) -> Tensor:
    """Convert lightness to neutral sRGB grey.

    Args:
        L: ``(B, 1, H, W)`` in [-1, 1].
    Returns:
        ``(B, 3, H, W)`` float32 in [0, 1], with three equal channels.
    """
    f = ((L.float() + 1) * L_SCALE + 16) / 116
    linear = torch.where(f > DELTA, f**3, 3 * DELTA**2 * (f - 4 / 29))
    curved = 1.055 * linear.clamp(min=1e-6) ** (1 / 2.4) - 0.055
    return torch.where(linear > 0.0031308, curved, 12.92 * linear).clamp(0, 1).expand(-1, 3, -1, -1)


def out_of_gamut(L: Tensor, ab: Tensor) -> Tensor:
    """Mark the pixels whose color is outside of the sRGB gamut.

    Args:
        L: ``(B, 1, H, W)`` in [-1, 1].
        ab: ``(B, 2, H, W)`` in [-1, 1].
    Returns:
        ``(B, H, W)`` bool.
    """
    rgb = _unclipped_rgb(L, ab)
    return ((rgb < -GAMUT_TOLERANCE) | (rgb > 1 + GAMUT_TOLERANCE)).any(dim=1)


def _unclipped_rgb(L: Tensor, ab: Tensor) -> Tensor:
    with _full_precision(L), _Float32():
        return lab_to_rgb(l_ab_to_lab(L, ab), clip=False)


def grey_to_l(grey: Tensor) -> Tensor:
    """Convert neutral sRGB grey to lightness.

    Args:
        grey: sRGB value of all three channels, float in [0, 1], any shape.
    Returns:
        float32 in [-1, 1], the same shape.
    """
    grey = grey.float().clamp(0, 1)
    linear = torch.where(grey > 0.04045, ((grey + 0.055) / 1.055) ** 2.4, grey / 12.92)
    f = torch.where(linear > DELTA**3, linear ** (1 / 3), linear / (3 * DELTA**2) + 4 / 29)
    return (116 * f - 16) / L_SCALE - 1


def to_uint8(rgb: Tensor) -> Tensor:
    """Round sRGB in [0, 1] to uint8, any shape."""
    return (rgb * 255).round().clamp(0, 255).to(torch.uint8)


def _full_precision(x: Tensor) -> AbstractContextManager:
    """Disable autocast; meta tensors have none."""
    return nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)


class _Float32(TorchFunctionMode):
    """Makes Kornia convert on a GPU as on a CPU: in float32, and without synchronizing.

    On a GPU, Kornia multiplies by its 3x3 matrices with ``conv2d``, which cuDNN by default computes in TF32: a and b
    are then off by up to 0.06, and RGB in the other direction by up to 4 of 255. This mode multiplies and adds instead;
    unlike torch's TF32 flags, it applies only to this thread and this call. It also keeps Kornia's matrices and white
    point on the device, since copying them at each call would synchronize.
    """

    def __torch_function__(
        self, func: Callable, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is torch.conv2d:
            return _mix_channels(*args[:2])
        return (_constant if func is torch.tensor else func)(*args, **kwargs or {})


def _mix_channels(image: Tensor, matrix: Tensor) -> Tensor:
    """Convolve ``(B, 3, H, W)`` with a ``(3, 3, 1, 1)`` kernel by multiplying and adding."""
    (x, y, z), (from_x, from_y, from_z) = image.split(1, dim=1), matrix.unbind(1)  # (B, 1, H, W) and (3, 1, 1) each
    return x * from_x + y * from_y + z * from_z


_CONSTANTS: dict[str, Tensor] = {}  # by values, type and device


@torch.compiler.assume_constant_result
def _constant(values: Any, **how: Any) -> Tensor:
    """Return a cached ``torch.tensor(values, **how)``."""
    key = repr((values, how))
    if key not in _CONSTANTS:
        with torch.inference_mode(False):  # gradients may flow through the next conversion
            _CONSTANTS[key] = torch.tensor(values, **how)
    return _CONSTANTS[key]

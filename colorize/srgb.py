"""Color math for full-size pictures, in NumPy: extract lightness, and join lightness and chroma into sRGB.

The same formulas as in `colorize.lab` (CIE Lab, D65, 2 degree observer), for pictures that are processed in blocks, in
threads, without torch.
"""

import numpy as np

L_SCALE = 50.0  # L* in [0, 100] becomes L*/50 - 1 in [-1, 1]
AB_SCALE = 110.0  # sRGB reaches a in [-86.2, 98.2] and b in [-107.9, 94.5]; 110 keeps both inside [-1, 1]
WHITE = np.array([0.95047, 1.0, 1.08883])  # D65
RGB_TO_XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
# Lab is defined on XYZ relative to white, so the white point is folded into the inverse matrix
WHITE_TO_RGB = (np.linalg.inv(RGB_TO_XYZ) * WHITE).astype(np.float32)
XYZ_WEIGHTS = (RGB_TO_XYZ / WHITE[:, None]).astype(np.float32)
LUMINANCE = RGB_TO_XYZ[1].astype(np.float32)
DELTA = 6 / 29  # Lab replaces the cube root by a line below DELTA**3
# Linear values that still round to 0 or 255; beyond them a channel is clipped, which changes the lightness
LOWEST, HIGHEST = -0.5 / 255 / 12.92, 1 + 2 * 0.5 / 255
HALVINGS = 12  # bisection steps in the search for the largest chroma in gamut: to 1/4096 of the chroma


def lightness(pixels: np.ndarray) -> np.ndarray:
    """Compute L* of sRGB or grey pixels.

    Args:
        pixels: ``(H, W)`` or ``(H, W, 3)``; uint8, uint16, or floats in [0, 1].
    Returns:
        ``(H, W)`` float32 in [0, 100].
    """
    if pixels.ndim == 2 and pixels.dtype in TABLES:
        return LIGHTNESS_TABLES[pixels.dtype][pixels]
    linear = TABLES[pixels.dtype][pixels] if pixels.dtype in TABLES else _to_linear(pixels.astype(np.float32))
    return _to_lightness(linear if linear.ndim == 2 else linear @ LUMINANCE)


def lab(pixels: np.ndarray) -> np.ndarray:
    """Convert sRGB pixels to CIE Lab.

    Args:
        pixels: ``(H, W, 3)`` uint8.
    Returns:
        ``(3, H, W)`` float32: L* in [0, 100], a*, b*.
    """
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))  # by planes: twice as fast
    x, y, z = _to_f(XYZ_WEIGHTS @ np.take(TABLES[pixels.dtype], planes).reshape(3, -1))
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)]).reshape(planes.shape)


def join(L: np.ndarray, a: np.ndarray, b: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, int]:
    """Join lightness and chroma into sRGB, preserving the lightness.

    The chroma of a color outside of the sRGB gamut is reduced until it fits; its L* and hue stay the same.

    Args:
        L: ``(H, W)`` float32 in [0, 100].
        a: ``(H, W)`` float32 in Lab units.
        b: the same.
        dtype: dtype of the result: uint8, uint16, or float32 for values in [0, 1].
    Returns:
        ``(H, W, 3)``, and the number of pixels whose chroma was reduced.
    """
    fy = (L + 16) / 116
    y = _from_f(fy)
    rgb = _linear_rgb(fy, y, a, b)  # (3, H, W)
    outside = (rgb.min(axis=0) < LOWEST) | (rgb.max(axis=0) > HIGHEST)
    limited = np.flatnonzero(outside)
    if len(limited):
        fy, y, a, b = (plane.ravel()[limited] for plane in (fy, y, a, b))
        share = _share_within(fy, y, a, b)
        rgb.reshape(3, -1)[:, limited] = _linear_rgb(fy, y, share * a, share * b)
    return _encode(rgb, np.dtype(dtype)), len(limited)


def clipped(L: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Join lightness and chroma into sRGB as published protocols do: clip out-of-gamut channels, changing L*.

    Args:
        L: ``(H, W)`` float32 in [0, 100], or of any shape.
        a: the same shape, float32 in Lab units.
        b: the same.
    Returns:
        ``(3, H, W)`` uint8, and ``(H, W)`` bool: the pixels that were clipped.
    """
    fy = (L + 16) / 116
    rgb = _linear_rgb(fy, _from_f(fy), a, b)
    outside = (rgb.min(axis=0) < LOWEST) | (rgb.max(axis=0) > HIGHEST)
    np.clip(rgb, 0, 1, out=rgb)
    rgb *= len(ENCODED) - 1
    rgb += np.float32(0.5)
    return np.take(ENCODED, rgb.astype(np.uint16)), outside


def share_within(L: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Find the largest share of the chroma that is inside the sRGB gamut at the same lightness and hue.

    Args:
        L: float32 in [0, 100], of any shape.
        a: the same shape, float32 in Lab units.
        b: the same.
    Returns:
        The same shape, in [0, 1), to 1/4096; 4095/4096 where all of the chroma fits.
    """
    fy = (L + 16) / 116
    return _share_within(fy, _from_f(fy), a, b)


def _share_within(fy: np.ndarray, y: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    low, high = np.zeros_like(fy), np.ones_like(fy)  # bisection; 0, which is grey, always fits
    for _ in range(HALVINGS):
        share = (low + high) / 2
        rgb = _linear_rgb(fy, y, share * a, share * b)
        fits = (rgb.min(axis=0) >= LOWEST) & (rgb.max(axis=0) <= HIGHEST)
        low, high = np.where(fits, share, low), np.where(fits, high, share)
    return low


def _linear_rgb(fy: np.ndarray, y: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return linear sRGB ``(3, ...)``, unclipped."""
    x, z = _from_f(fy + a / 500), _from_f(fy - b / 200)
    rgb = np.empty((3, *fy.shape), np.float32)
    for row, (rx, ry, rz) in enumerate(WHITE_TO_RGB):
        rgb[row] = rx * x + ry * y + rz * z
    return rgb


def _from_f(t: np.ndarray) -> np.ndarray:
    # The line below DELTA meets the cube at DELTA, so their clamped parts add up; np.where takes 5 times as long
    above = np.maximum(t, np.float32(DELTA))
    return above * above * above + np.float32(3 * DELTA**2) * np.minimum(t - np.float32(DELTA), 0)


def _to_lightness(luminance: np.ndarray) -> np.ndarray:
    return (116 * _to_f(luminance) - 16).astype(np.float32, copy=False)


def _to_f(relative: np.ndarray) -> np.ndarray:
    f = np.cbrt(np.maximum(relative, DELTA**3))
    f += np.minimum(relative - DELTA**3, 0) / (3 * DELTA**2)  # as in `_from_f`
    return f


def _to_linear(encoded: np.ndarray) -> np.ndarray:
    return np.where(encoded > 0.04045, ((encoded + 0.055) / 1.055) ** 2.4, encoded / 12.92)


def _to_encoded(linear: np.ndarray) -> np.ndarray:
    curve = 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055
    return np.where(linear > 0.0031308, curve, 12.92 * linear)


def _encode(rgb: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Encode linear ``(3, H, W)`` as sRGB ``(H, W, 3)`` of a dtype."""
    rgb = np.clip(rgb, 0, 1)
    out = np.empty((*rgb.shape[1:], 3), dtype)
    for channel in range(3):
        if dtype == np.uint8:
            np.take(ENCODED, (rgb[channel] * (len(ENCODED) - 1) + 0.5).astype(np.uint16), out=out[..., channel])
        else:
            encoded = _to_encoded(rgb[channel])
            out[..., channel] = encoded * 65535 + 0.5 if dtype == np.uint16 else encoded
    return out


# Lookup tables by 8- or 16-bit value, and by linear value in 65,536 steps of at most 0.05 of an 8-bit level
TABLES = {
    np.dtype(kind): _to_linear(np.linspace(0, 1, 2**bits)).astype(np.float32)
    for kind, bits in ((np.uint8, 8), (np.uint16, 16))
}
LIGHTNESS_TABLES = {kind: _to_lightness(table.astype(np.float64)) for kind, table in TABLES.items()}
ENCODED = np.round(255 * _to_encoded(np.linspace(0, 1, 65536))).astype(np.uint8)

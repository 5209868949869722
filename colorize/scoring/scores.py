"""Compute the scores of one picture that need no network, and score curves over gains of its chroma."""

import numpy as np
import torch

from colorize.metrics import ciede2000, l1, psnr, ssim
from colorize.metrics.distribution import chroma_spread, hue_distance
from colorize.metrics.image import PEAK, SSIM_WINDOW, colorfulness_pair
from colorize.scoring.pictures import Colored, Truth
from colorize.srgb import AB_SCALE, clipped

SCORES = (
    "l1", "psnr", "ssim", "delta_e", "colorfulness", "colorfulness_abs", "target_colorfulness",
    "target_colorfulness_abs", "out_of_gamut", "lightness_error", "hue_distance", "chroma_spread",
    "target_chroma_spread",
)  # fmt: skip
GAINS = tuple(2 ** (step / 3) for step in range(-3, 10))  # 1/2 to 8
CURVES = ("l1", "psnr", "ssim", "delta_e", "colorfulness", "colorfulness_abs", "out_of_gamut")
WINDOW_EVERY = 40  # pixels: one SSIM window of 7x7 in each 40x40
MOST_WINDOWS = 16  # maximum per side


def scores_of(truth: Truth, colored: Colored) -> dict[str, float]:
    """Score a picture.

    ``out_of_gamut`` is computed on the chroma combined with L, and ``lightness_error`` on the method's own L*, in L*
    units. ``hue_distance`` and ``chroma_spread`` are defined in `colorize.metrics.distribution`, the latter in Lab
    units. All other scores are defined as in `colorize.metrics.score_images`, and equal if L is the truth's.

    Returns:
        Value of every name in ``SCORES``; ``lightness_error`` is NaN if the method predicts no lightness.
    Raises:
        UserError: If the picture is smaller than the SSIM window.
    """
    out, target = torch.from_numpy(colored.rgb)[None], torch.from_numpy(truth.rgb)[None]
    ab, true_ab = torch.from_numpy(colored.ab)[None], torch.from_numpy(truth.lab[1:])[None]
    lab = torch.from_numpy(np.concatenate([colored.L[None], colored.ab]))[None]
    values = {
        "l1": l1(ab, true_ab) / AB_SCALE,
        "psnr": psnr(out, target),
        "ssim": ssim(out, target),
        "delta_e": ciede2000(lab, torch.from_numpy(truth.lab)[None]).mean(),
        "hue_distance": hue_distance(ab, true_ab),
        "chroma_spread": chroma_spread(ab),
        "target_chroma_spread": chroma_spread(true_ab),
    }
    values["colorfulness"], values["colorfulness_abs"] = colorfulness_pair(out)
    found = {name: value.item() for name, value in values.items()}
    found["target_colorfulness"], found["target_colorfulness_abs"] = truth.colorfulness
    found["out_of_gamut"] = colored.outside
    found["lightness_error"] = float("nan") if colored.lightness_error is None else colored.lightness_error
    return found


def curves_of(truth: Truth, colored: Colored) -> tuple[dict[str, list[float]], list[float]]:
    """Score a picture with its chroma multiplied by each of ``GAINS``, on evenly spaced windows of 7x7 pixels.

    Returns:
        For every name in ``CURVES`` a score per gain; and the truth's ``colorfulness`` and ``colorfulness_abs`` on
        these pixels.
    """
    rows, columns = (_starts(side) for side in truth.size)
    take = np.ix_(rows.ravel(), columns.ravel())

    def windows(planes: np.ndarray) -> np.ndarray:
        """Cut ``(C, H, W)`` into ``(C, K, 49)``."""
        cut = planes[:, take[0], take[1]].reshape(-1, len(rows), SSIM_WINDOW, len(columns), SSIM_WINDOW)
        return np.ascontiguousarray(cut.transpose(0, 1, 3, 2, 4)).reshape(len(planes), -1, SSIM_WINDOW**2)

    target = torch.from_numpy(windows(truth.rgb))[None]  # (1, 3, K, 49)
    true_lab = torch.from_numpy(windows(truth.lab))[None]
    L, a, b = windows(np.concatenate([colored.L[None], colored.ab]))
    gains = np.array(GAINS, np.float32)[:, None, None]
    lab = np.stack([np.broadcast_to(L, (len(GAINS), *L.shape)), gains * a, gains * b])  # (3, G, K, 49)
    rgb, outside = clipped(*lab)
    out = torch.from_numpy(rgb).transpose(0, 1).contiguous()
    labs = torch.from_numpy(lab).transpose(0, 1).contiguous()
    target, true_lab = target.expand_as(out), true_lab.expand_as(labs)
    curves = {
        "l1": l1(labs[:, 1:], true_lab[:, 1:]) / AB_SCALE,
        "psnr": psnr(out, target),
        "ssim": _window_ssim(out, target),
        "delta_e": ciede2000(labs, true_lab).mean((1, 2)),
        "out_of_gamut": torch.from_numpy(outside.mean((1, 2))),
    }
    curves["colorfulness"], curves["colorfulness_abs"] = colorfulness_pair(out)
    reference = [value.item() for value in colorfulness_pair(target[:1])]
    return {name: curves[name].tolist() for name in CURVES}, reference


def _starts(side: int) -> np.ndarray:
    """Return the coordinates of evenly spaced windows along a side, ``(n, 7)``."""
    count = min(MOST_WINDOWS, max(1, side // WINDOW_EVERY))
    space = (side - SSIM_WINDOW) / count
    return (space * (np.arange(count) + 0.5)).astype(int)[:, None] + np.arange(SSIM_WINDOW)


def _window_ssim(out: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the mean SSIM over windows ``(B, 3, K, 49)``, as `colorize.metrics.ssim` computes it per pixel."""
    x, y = out.float(), target.float()
    mean_x, mean_y = x.mean(-1), y.mean(-1)
    x, y = x - mean_x[..., None], y - mean_y[..., None]
    count = x.shape[-1] - 1
    variances, covariance = (x.square() + y.square()).sum(-1) / count, (x * y).sum(-1) / count
    c1, c2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x.square() + mean_y.square() + c1)
    return (luminance * (2 * covariance + c2) / (variances + c2)).mean((1, 2))

"""Scores that need no network: per image, summarized over a set, with bootstrap intervals."""

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from colorize.lab import l_ab_to_rgb, to_uint8
from colorize.metrics.color import delta_e, l1, out_of_gamut_share
from colorize.metrics.gain import SUMS, calibrated_gain, gain_sums, l1_at_cf
from colorize.metrics.image import colorfulness_pair, psnr, ssim

PER_IMAGE = (
    "l1",
    "l1_grey",  # baseline: no chroma
    "psnr",
    "ssim",
    "colorfulness",
    "colorfulness_abs",
    "target_colorfulness",
    "target_colorfulness_abs",
    "delta_e",
    "out_of_gamut",
)


@torch.no_grad()
def score_images(L: Tensor, ab_pred: Tensor, ab_true: Tensor) -> dict[str, Tensor]:
    """Compute the scores of each image's predicted colors.

    The output image is the given lightness with the predicted colors, the target is the same lightness with the
    true ones, both clipped and rounded to uint8.

    Args:
        L: ``(B, 1, H, W)`` in [-1, 1].
        ab_pred: ``(B, 2, H, W)`` in [-1, 1].
        ab_true: same as ``ab_pred``.
    Returns:
        for every name in ``PER_IMAGE``, ``(B,)`` float32.
    Raises:
        ValueError: if the shapes do not match.
        UserError: if the images are smaller than SSIM's window.
    """
    out, target = to_uint8(l_ab_to_rgb(L, ab_pred)), to_uint8(l_ab_to_rgb(L, ab_true))
    (colors, colors_abs), (true_colors, true_colors_abs) = colorfulness_pair(out), colorfulness_pair(target)
    return {
        "l1": l1(ab_pred, ab_true),
        "l1_grey": l1(torch.zeros_like(ab_true), ab_true),
        "psnr": psnr(out, target),
        "ssim": ssim(out, target),
        "colorfulness": colors,
        "colorfulness_abs": colors_abs,
        "target_colorfulness": true_colors,
        "target_colorfulness_abs": true_colors_abs,
        "delta_e": delta_e(L, ab_pred, ab_true),
        "out_of_gamut": out_of_gamut_share(L, ab_pred),
    }


def summarize(per_image: dict[str, Tensor]) -> dict[str, Tensor]:
    """Summarize the scores of a set of images.

    Besides means, it has ``delta_colorfulness``, the absolute difference of the mean colorfulness of outputs and of
    targets, in the variant of the published tables (absolute opponent channels); ``delta_colorfulness_hs``, the
    same by the definition of 2003; ``delta_colorfulness_image``, the mean over images of the absolute difference, in
    the published variant.

    Args:
        per_image: for every name in ``PER_IMAGE``, ``(N,)``.
    Returns:
        scalars by name.
    """
    mean = {name: per_image[name].mean() for name in PER_IMAGE}
    change = per_image["colorfulness_abs"] - per_image["target_colorfulness_abs"]
    return {
        **{name: value for name, value in mean.items() if not name.startswith("target_")},
        "delta_colorfulness": change.mean().abs(),
        "delta_colorfulness_hs": (mean["colorfulness"] - mean["target_colorfulness"]).abs(),
        "delta_colorfulness_image": change.abs().mean(),
    }


SUMMARY = (*summarize(dict.fromkeys(PER_IMAGE, torch.zeros(1))), "l1_at_cf", "calibrated_gain")  # what validation logs


def bootstrap(
    per_image: dict[str, Tensor], resamples: int = 1000, seed: int = 0, level: float = 0.95
) -> dict[str, tuple[float, float]]:
    """Compute percentile bootstrap intervals of every value of `summarize`.

    Args:
        per_image: for every name in ``PER_IMAGE``, ``(N,)``.
        resamples: number of resamples.
        seed: seed of the resamples; the same seed gives the same intervals.
        level: confidence level, in (0, 1).
    Returns:
        lower and upper bound by name.
    """
    per_image = {name: value.cpu().double() for name, value in per_image.items()}
    count = len(per_image["l1"])
    draws = torch.randint(count, (resamples, count), generator=torch.Generator().manual_seed(seed))
    summaries = [summarize({name: value[draw] for name, value in per_image.items()}) for draw in draws]
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    intervals = {}
    for name in summaries[0]:
        low, high = torch.stack([summary[name] for summary in summaries]).quantile(ends).tolist()
        intervals[name] = (low, high)
    return intervals


class ImageScores(Metric):
    """Collects `score_images` over batches and devices.

    ``compute`` returns the values of `summarize`, `l1_at_cf` and `calibrated_gain`.
    """

    full_state_update = False
    scores: list[Tensor] | Tensor
    at_gains: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("scores", [], dist_reduce_fx="cat")  # (B, len(PER_IMAGE)) each
        self.add_state("at_gains", torch.zeros(SUMS), dist_reduce_fx="sum")

    def update(self, L: Tensor, ab_pred: Tensor, ab_true: Tensor) -> None:
        """Add a batch; arguments and errors are those of `score_images`."""
        scores = score_images(L, ab_pred, ab_true)
        self.scores.append(torch.stack([scores[name] for name in PER_IMAGE], dim=1))
        self.at_gains += gain_sums(L, ab_pred, ab_true)

    def compute(self) -> dict[str, Tensor]:
        """Compute the summary of all images: scalars by name."""
        at_gains = {"l1_at_cf": l1_at_cf(self.at_gains), "calibrated_gain": calibrated_gain(self.at_gains)}
        return summarize(self.per_image()) | at_gains

    def per_image(self) -> dict[str, Tensor]:
        """Return the scores of this process's images, ``(N,)`` by name, in order of `update`."""
        return dict(zip(PER_IMAGE, dim_zero_cat(self.scores).unbind(1), strict=True))

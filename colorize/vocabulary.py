"""Names of states and scores, their labels, and which way a score is better: what tables, plots and searches share."""

from typing import NamedTuple

STATES = ("healthy", "D wins", "D fooled", "colour collapse", "over-saturation", "diverging")  # fmt: skip

AT_CF = "_at_cf"  # ending of scores at the gain of chroma that gives the truth's colorfulness
ARROWS = {"min": "↓", "max": "↑", None: ""}


class Score(NamedTuple):
    """A score of one method or checkpoint.

    Attributes:
        label: heading of a table's column, title of a plot.
        better: ``min`` or ``max``; ``None`` where neither is.
    """

    label: str
    better: str | None


SCORES = {
    "l1": Score("L1", "min"),
    "psnr": Score("PSNR", "max"),
    "ssim": Score("SSIM", "max"),
    "delta_e": Score("CIEDE2000", "min"),
    "lpips_alex": Score("LPIPS Alex", "min"),
    "lpips_vgg": Score("LPIPS VGG", "min"),
    "fid": Score("FID", "min"),
    "kid": Score("KID", "min"),
    "fid_lite2": Score("FID Lite2", "min"),
    "kid_lite2": Score("KID Lite2", "min"),
    "recognizability": Score("Recognizability", "max"),
    "colorfulness": Score("CF 2003", None),
    "colorfulness_abs": Score("CF", None),
    "delta_colorfulness": Score("ΔCF", "min"),
    "delta_colorfulness_hs": Score("ΔCF 2003", "min"),
    "delta_colorfulness_image": Score("ΔCF per image", "min"),
    "hue_distance": Score("Hue distance", "min"),
    "chroma_spread_ratio": Score("Chroma spread", None),
    "out_of_gamut": Score("Out of gamut", "min"),
    "lightness_error": Score("ΔL*", "min"),
    "gain": Score("Gain", None),
}
VALIDATED = ("l1", "l1_at_cf", "psnr", "ssim", "colorfulness_abs", "delta_colorfulness", "delta_e", "out_of_gamut")
EVALUATED = (
    *VALIDATED,
    "fid",
    "kid",
    "kid_lite2",
    "fid_lite2",
    "recognizability",
)  # shown where computed


def score_of(metric: str) -> Score | None:
    """Return the score that a logged name is of, such as ``val/psnr``, ``val/raw_l1``, ``l1_hints5`` or ``l1_at_cf``.

    Returns:
        ``None`` for what is no score, such as ``val/calibrated_gain``.
    """
    name = metric.rpartition("/")[2].removeprefix("raw_")
    return SCORES.get(name.removesuffix(AT_CF).partition("_hints")[0])


def better_when(metric: str) -> str | None:
    """Return whether lower or higher values of a logged metric are better.

    Returns:
        ``min`` or ``max``; ``None`` where neither is known, as of ``val/colorfulness``.
    """
    if metric.rpartition("/")[2].removeprefix("raw_").startswith("loss_"):
        return "min"
    score = score_of(metric)
    return score.better if score else None

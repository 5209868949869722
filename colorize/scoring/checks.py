"""What the judge's own rows must show: known answers, and an order that any sound score has."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from colorize.scoring.methods import ANOTHER, GREY, HALF, JPEG, MORE, TRUTH
from colorize.scoring.protocols import Protocol

NEAR = 0.5  # of a known colorfulness: resampling alone moves it by 0.1 or so
# Each score from best to worst, among rows whose order follows from what they are
ORDERS = {
    "l1": (TRUTH, JPEG, HALF, GREY),
    "delta_e": (TRUTH, JPEG, HALF, GREY),
    "psnr": (TRUTH, JPEG, HALF, GREY),
    "delta_colorfulness": (TRUTH, HALF, GREY),
    "hue_distance": (TRUTH, JPEG, ANOTHER),
}
RISING = {"colorfulness_abs": (GREY, HALF, TRUTH, MORE)}


def checks(
    rows: Mapping[str, Mapping[str, float]],
    colorfulness: float,
    protocol: Protocol,
    complete: bool,
) -> list[dict[str, Any]]:
    """Check the rows that test the judge.

    Args:
        rows: scores by row, on the same images.
        colorfulness: mean ``colorfulness_abs`` of all true images.
        protocol: that they are of.
        complete: whether the images are those of published figures.
    Returns:
        for each check, what it is in words, and whether it ``passed``.
    """
    found = []
    for score, order in (ORDERS | RISING).items():
        values = [rows[name][score] for name in order if score in rows.get(name, {})]
        if len(values) == len(order):
            sign = " > " if score == "psnr" else " < "
            told = sign.join(f"{name} {value:.4g}" for name, value in zip(order, values, strict=True))
            rising = all(a > b if score == "psnr" else a < b for a, b in pairwise(values))
            found.append({"check": f"{score}: {told}", "passed": rising})
    if TRUTH in rows:
        perfect = rows[TRUTH]["l1"] < 1e-6 and rows[TRUTH]["ssim"] > 0.999999
        found.append({"check": "the truth's colors are perfect: L1 0, SSIM 1", "passed": perfect})
    if complete and protocol.known:
        text = f"colorfulness_abs of the truth is {colorfulness:.2f}; published for {protocol.name}: {protocol.known}"
        found.append({"check": text, "passed": abs(colorfulness - protocol.known) < NEAR})
    return found

"""Check the reference rows: scores with known values, and orders that every valid score must have."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from colorize.scoring.methods import ANOTHER, GREY, HALF, JPEG, MORE, TRUTH
from colorize.scoring.protocols import Protocol

NEAR = 0.5  # tolerance of the published colorfulness; resampling alone changes it by about 0.1
# rows from best to worst by each score, where the order is known by construction
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
    """Check the reference rows.

    Args:
        rows: Scores by row, on the same images.
        colorfulness: Mean ``colorfulness_abs`` of all true images.
        protocol: Protocol of the scores.
        complete: Whether the images are those of published figures.
    Returns:
        For each check its description ``check`` and whether it ``passed``.
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
        found.append({"check": "the truth has perfect scores: L1 0, SSIM 1", "passed": perfect})
    if complete and protocol.known:
        text = f"colorfulness_abs of the truth is {colorfulness:.2f}; published for {protocol.name}: {protocol.known}"
        found.append({"check": text, "passed": abs(colorfulness - protocol.known) < NEAR})
    return found

"""Diagnose the state of training from measurements of the last batches, with evidence.

The bounds were calibrated on successful trainings on generated scenes and photographs, and on trainings that were made
to fail; see benchmarks/RESULTS.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, isnan
from statistics import median
from typing import NamedTuple

from colorize.vocabulary import STATES

HEALTHY, D_WINS, D_FOOLED, COLLAPSE, OVER_SATURATION, DIVERGING = STATES
Measures = dict[str, float]  # one batch's measurements, by name in `colorize.training.callbacks.observation.MEASURES`


class Diagnosis(NamedTuple):
    """A state, its evidence, and the networks whose learning rate is too high: "G", "D" or both."""

    state: str
    evidence: str
    culprits: tuple[str, ...] = ("G", "D")


@dataclass(frozen=True)
class Bounds:
    """Thresholds of the states, set in ``conf/callbacks/default.yaml``; compared with medians over the last batches.

    Args:
        update_ratio: norm of a step over the norm of the weights; above it training is unstable. It is 0.001 to 0.005
            at lr 2e-4, and proportional to lr.
        worse_than_grey: L1 over the L1 of grey; above it training diverges.
        chroma_spread: chroma spread over that of true colors; below it all images get the same colors.
        least_spread: chroma spread of true colors, in normalized ab; below it the images themselves are all alike.
        saturated: fraction of outputs near the limits of tanh.
        out_of_gamut: fraction of pixels outside the sRGB gamut.
        too_colorful: colorfulness over that of true colors.
        D_surely: accuracy of D on real and on generated patches, both; at or above it D may win.
        D_hardly: accuracy of D on generated or on real patches; at or below it D is fooled.
    """

    update_ratio: float
    worse_than_grey: float
    chroma_spread: float
    least_spread: float
    saturated: float
    out_of_gamut: float
    too_colorful: float
    D_surely: float
    D_hardly: float


def diagnose(measured: Sequence[Measures], bounds: Bounds, sure: float | None, colors: bool = True) -> Diagnosis:
    """Diagnose the state of training.

    Several states may hold; the first of this list is returned, since causes come before their effects: a non-finite
    measurement, D wins, unstable weights, D fooled, colors worse than grey, color collapse, over-saturation.

    Args:
        measured: the last few measurements, oldest first; at least one.
        bounds: thresholds of the states.
        sure: margin in logits above which D wins, see `colorize.losses.gan.Mode`; ``None`` if D cannot win.
        colors: whether to judge colors; at the start of training they are all alike and grey.
    """
    broken = [
        name for name in ("l1", "grad_norm_D", "grad_norm_G") if measured[-1][name] in (float("inf"), -float("inf"))
    ]
    broken += ["l1"] if isnan(measured[-1]["l1"]) else []
    if broken:
        return Diagnosis(DIVERGING, f"{broken[0]} is {measured[-1][broken[0]]}")
    now = {name: _median([measures[name] for measures in measured]) for name in measured[-1]}
    return (
        _discriminator_wins(now, bounds, sure)
        or _unstable_weights(now, bounds)
        or _discriminator_fooled(now, bounds)
        or (_colors(now, bounds) if colors else None)
        or Diagnosis(HEALTHY, f"L1 {now['l1']:.3f}, without color {now['l1_grey']:.3f}")
    )


def _median(values: Sequence[float]) -> float:
    known = [value for value in values if isfinite(value)]
    return median(known) if known else float("nan")  # every comparison with NaN is false


def _discriminator_wins(now: Measures, bounds: Bounds, sure: float | None) -> Diagnosis | None:
    right = all(now[name] >= bounds.D_surely for name in ("D_acc_real", "D_acc_fake"))
    if sure is None or not right or not now["margin"] >= sure:
        return None
    return Diagnosis(D_WINS, f"D is right on {_accuracies(now)}, margin {now['margin']:.1f}", ("D",))


def _discriminator_fooled(now: Measures, bounds: Bounds) -> Diagnosis | None:
    if not min(now["D_acc_real"], now["D_acc_fake"]) <= bounds.D_hardly:
        return None
    return Diagnosis(D_FOOLED, f"D is right on {_accuracies(now)}, margin {now['margin']:.1f}", ("G",))


def _accuracies(now: Measures) -> str:
    return f"{now['D_acc_real']:.0%} of real and {now['D_acc_fake']:.0%} of generated patches"


def _unstable_weights(now: Measures, bounds: Bounds) -> Diagnosis | None:
    ratios = {name: now[f"update_ratio_{name}"] for name in "GD"}
    fast = {name: ratio for name, ratio in ratios.items() if ratio > bounds.update_ratio}
    if not fast:
        return None
    steps = " and ".join(f"{name}'s steps change its weights by {ratio:.1%}" for name, ratio in fast.items())
    # A network above half of the bound would be the next to become unstable, so it is slowed down too
    culprits = tuple(name for name, ratio in ratios.items() if ratio > bounds.update_ratio / 2)
    return Diagnosis(DIVERGING, f"{steps} each; 0.1% to 0.5% is usual", culprits)


def _colors(now: Measures, bounds: Bounds) -> Diagnosis | None:
    if now["l1"] > bounds.worse_than_grey * now["l1_grey"]:
        return Diagnosis(DIVERGING, f"L1 is {now['l1']:.3f}, without any color {now['l1_grey']:.3f}")
    spread, real = now["chroma_spread"], now["chroma_spread_real"]
    if real < bounds.least_spread:
        return Diagnosis(COLLAPSE, f"the images themselves are alike: true ab varies by {real:.4f} from one to another")
    if spread < bounds.chroma_spread * real:
        return Diagnosis(COLLAPSE, f"ab varies by {spread:.4f} from image to image, in truth by {real:.4f}")
    strong = {
        f"{now['saturated']:.0%} of outputs are saturated": now["saturated"] > bounds.saturated,
        f"{now['out_of_gamut']:.0%} of pixels are out of gamut": now["out_of_gamut"] > bounds.out_of_gamut,
        f"colorfulness is {now['colorfulness']:.0f}, in truth {now['colorfulness_real']:.0f}": now["colorfulness"]
        > bounds.too_colorful * now["colorfulness_real"],
    }
    evidence = ", ".join(text for text, holds in strong.items() if holds)
    return Diagnosis(OVER_SATURATION, evidence, ("G",)) if evidence else None

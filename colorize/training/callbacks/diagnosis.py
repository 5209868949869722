"""From measures of the last batches to the name of the state that training is in, with the evidence.

The bounds were set on trainings of generated scenes and of photographs that went well, and on others that were made to
fail; see benchmarks/RESULTS.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, isnan
from statistics import median
from typing import NamedTuple

from colorize.vocabulary import STATES

HEALTHY, D_WINS, D_FOOLED, COLLAPSE, OVER_SATURATION, DIVERGING = STATES
Look = dict[str, float]  # a measure's value by its name in `colorize.training.callbacks.observation.MEASURES`


class Diagnosis(NamedTuple):
    """A state, why it is that, and whose learning rate is to blame: "G", "D" or both."""

    state: str
    evidence: str
    culprits: tuple[str, ...] = ("G", "D")


@dataclass(frozen=True)
class Bounds:
    """Where each state begins, as ``conf/callbacks/default.yaml`` has it; every value is a median over the last looks.

    Args:
        update_ratio: of a step's norm to the weights': above it a network is thrown about. It is 0.001 to 0.005 at
            lr 2e-4, and grows with it.
        worse_than_grey: L1 over that of no colour at all.
        chroma_spread: over that of true colours: below it all images get the same colours.
        least_spread: of true colours, in normalised ab: below it the images themselves are all alike.
        saturated: share of outputs near the end of tanh's reach.
        out_of_gamut: share of pixels that sRGB cannot show.
        too_colorful: colorfulness over that of true colours.
        D_surely: accuracy on real and on generated patches, both.
        D_hardly: accuracy on generated patches, or on real ones.
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


def diagnose(looks: Sequence[Look], bounds: Bounds, sure: float | None, colors: bool = True) -> Diagnosis:
    """Name the state of training.

    Several may hold; causes are named before what follows from them: a measure that is no number, D wins, weights
    thrown about, D fooled, colours worse than none, colour collapse, over-saturation.

    Args:
        looks: the last few, oldest first; at least one.
        bounds: where each state begins.
        sure: margin that D must have to win, in logits, see `colorize.losses.gan.Mode`; ``None``: it cannot.
        colors: whether colours are judged; at the start of training they are all alike and grey.
    """
    broken = [name for name in ("l1", "grad_norm_D", "grad_norm_G") if looks[-1][name] in (float("inf"), -float("inf"))]
    broken += ["l1"] if isnan(looks[-1]["l1"]) else []
    if broken:
        return Diagnosis(DIVERGING, f"{broken[0]} is {looks[-1][broken[0]]}")
    now = {name: _median([look[name] for look in looks]) for name in looks[-1]}
    return (
        _discriminator_wins(now, bounds, sure)
        or _thrown_about(now, bounds)
        or _discriminator_fooled(now, bounds)
        or (_colors(now, bounds) if colors else None)
        or Diagnosis(HEALTHY, f"L1 {now['l1']:.3f}, without colour {now['l1_grey']:.3f}")
    )


def _median(values: Sequence[float]) -> float:
    known = [value for value in values if isfinite(value)]
    return median(known) if known else float("nan")  # which no comparison holds of


def _discriminator_wins(now: Look, bounds: Bounds, sure: float | None) -> Diagnosis | None:
    right = all(now[name] >= bounds.D_surely for name in ("D_acc_real", "D_acc_fake"))
    if sure is None or not right or not now["margin"] >= sure:
        return None
    return Diagnosis(D_WINS, f"D is right on {_accuracies(now)}, margin {now['margin']:.1f}", ("D",))


def _discriminator_fooled(now: Look, bounds: Bounds) -> Diagnosis | None:
    if not min(now["D_acc_real"], now["D_acc_fake"]) <= bounds.D_hardly:
        return None
    return Diagnosis(D_FOOLED, f"D is right on {_accuracies(now)}, margin {now['margin']:.1f}", ("G",))


def _accuracies(now: Look) -> str:
    return f"{now['D_acc_real']:.0%} of real and {now['D_acc_fake']:.0%} of generated patches"


def _thrown_about(now: Look, bounds: Bounds) -> Diagnosis | None:
    ratios = {name: now[f"update_ratio_{name}"] for name in "GD"}
    fast = {name: ratio for name, ratio in ratios.items() if ratio > bounds.update_ratio}
    if not fast:
        return None
    steps = " and ".join(f"{name}'s steps change its weights by {ratio:.1%}" for name, ratio in fast.items())
    # One that is half as bad would be the next: it slows down with the other
    culprits = tuple(name for name, ratio in ratios.items() if ratio > bounds.update_ratio / 2)
    return Diagnosis(DIVERGING, f"{steps} each; 0.1% to 0.5% is usual", culprits)


def _colors(now: Look, bounds: Bounds) -> Diagnosis | None:
    if now["l1"] > bounds.worse_than_grey * now["l1_grey"]:
        return Diagnosis(DIVERGING, f"L1 is {now['l1']:.3f}, without any colour {now['l1_grey']:.3f}")
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

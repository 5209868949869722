"""Sentences claim only what the intervals support."""

import pytest

from colorize.bias.intervals import UNKNOWN, Estimate
from colorize.bias.words import findings, percent, shown

MEASURES = {
    "chroma_ratio": Estimate(0.62, 0.55, 0.7),
    "relative_error": Estimate(1.04, 0.94, 1.16),
    "diversity_ratio": Estimate(0.5, 0.4, 0.6),
    "followed": Estimate(0.1, 0.05, 0.15),
    "jump_ratio": Estimate(0.4, 0.35, 0.46),
    "hue_shift": Estimate(13.3, 7.7, 18.5),
    "delta_e": Estimate(10.5, 9.6, 11.6),
}


def summary(correlation: Estimate = UNKNOWN, b_shift: Estimate = UNKNOWN, people: dict | None = None) -> dict:
    everything = {"things": 517, "a_shift": Estimate(1.3, -0.1, 2.6), "b_shift": b_shift} | MEASURES
    model = {
        "categories": [everything],
        "rare_objects": {"points": [{}] * 34, "correlations": {"relative_error": correlation}},
        "blobs": Estimate(0.8, 0.7, 0.9),
        "people": people or {"bands": [], "contrasts": []},
    }
    explained = dict.fromkeys(("whole", "lightness", "category", "both"), Estimate(0.03, 0.02, 0.04))
    data = {"explained": explained, "mean": {"a": Estimate(2, 1, 3), "b": Estimate(-7, -8, -6)}}
    return {"photographs": 200, "band": 4, "frequencies": "all", "data": data, "models": {"x": model}}


def told(word: str, **given) -> str:
    (line,) = [line for line in findings(summary(**given)) if word in line]
    return line


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (Estimate(-0.5, -0.7, -0.2), "are colored worse than others"),
        (Estimate(0.5, 0.2, 0.7), "are colored better than others"),
        (Estimate(0.15, -0.2, 0.46), "do not differ significantly from others"),
    ],
)
def test_the_curve_says_what_its_interval_tells(value, verdict) -> None:
    assert verdict in told("rare categories", correlation=value)


def test_without_enough_categories_there_is_no_verdict() -> None:
    assert "34 categories have enough objects, too few" in told("34 categories")


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (Estimate(5, 2.8, 7.1), "objects are shifted toward yellow by +5.0 [+2.8, +7.1]"),
        (Estimate(-5, -7.1, -2.8), "objects are shifted toward blue by -5.0 [-7.1, -2.8]"),
        (Estimate(1, -1, 3), "no significant shift between yellow and blue"),
    ],
)
def test_a_shift_has_its_direction(value, verdict) -> None:
    assert verdict in told("units of b", b_shift=value)


def test_a_band_with_too_few_people_is_a_sentence() -> None:
    band = {"band": "everyone", "people": 30} | MEASURES
    people = {
        "bands": [band, {"band": "tan", "too_few": "tan: 9 people are too few"}],
        "contrasts": [{"too_few": "no"}],
    }
    lines = findings(summary(people=people))
    assert "x: tan: 9 people are too few." in lines
    assert "x: darker and lighter skin cannot be compared; no." in lines
    assert any("on the skin of 30 people, chroma is 0.62 [0.55, 0.70]" in line for line in lines)


def test_values_are_shown_with_their_intervals() -> None:
    assert shown(Estimate(0.616, 0.5, 0.7)) == "0.62 [0.50, 0.70]"
    assert shown(Estimate(2, float("nan"), float("nan")), 1, signed=True) == "+2.0" and shown(UNKNOWN) == "–"
    assert shown(Estimate(-0.01, -0.2, 0.3), 1) == "0.0 [-0.2, 0.3]"
    assert percent(Estimate(0.034, -0.02, -0.001)) == "3% [-2%, 0%]" and percent(UNKNOWN) == "–"

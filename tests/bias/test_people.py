"""Skin by bands: differences computed by hand, and a sentence if there are too few people."""

import numpy as np
import pytest

from colorize.bias.measures import COLUMNS, PLACE
from colorize.bias.people import describe_people, difference
from colorize.bias.regions import Output, Truth
from colorize.bias.survey import ModelSurvey


def survey_of(people: list[tuple[int, float, float]]) -> ModelSurvey:
    """Make people of ``(photograph, L, chroma ratio)``, whose true skin is a=12 b=16, chroma 20."""
    survey = ModelSurvey(["x"], 4)
    for number, (photograph, L, ratio) in enumerate(people):
        survey.people.append(Truth(photograph, "", number, "person", 200, L, 12.0, 16.0, 20.0))
        a, b = 12 * ratio, 16 * ratio
        survey.people_outputs["x"].append(Output(a, b, 20 * ratio, 20 * (1 - ratio), 10 * (1 - ratio)))
    return survey


def band(found: dict, name: str) -> dict:
    return next(row for row in found["bands"] if row["band"].startswith(name))


def test_bands_have_their_people_and_their_measures() -> None:
    people = [(n, 40.0, 0.5) for n in range(12)] + [(n, 60.0, 0.9) for n in range(20, 34)]
    found = describe_people(survey_of(people), "x")
    assert (band(found, "everyone")["people"], band(found, "L* 35 to 50")["people"]) == (26, 12)
    assert band(found, "L* 35 to 50")["chroma_ratio"] == pytest.approx((0.5, 0.5, 0.5))
    assert band(found, "L* 50 to 65")["chroma_shift"].value == pytest.approx(-2)
    # ITA: arctan(-10 / 16) is -32 degrees, arctan(10 / 16) is 32
    assert band(found, "dark")["people"] == 12 and band(found, "intermediate")["people"] == 14


def test_a_band_with_too_few_people_says_so_and_has_no_measure() -> None:
    found = describe_people(survey_of([(n, 40.0, 0.5) for n in range(12)] + [(20, 60.0, 0.9)] * 9), "x")
    row = band(found, "L* 50 to 65")
    assert (
        row["too_few"] == "L* 50 to 65: 9 people in 1 photograph are too few; at least 10 in 5 photographs are needed"
    )
    assert "chroma_ratio" not in row and "too_few" not in band(found, "L* 35")
    assert all("are too few; at least" in contrast["too_few"] for contrast in found["contrasts"])


def test_many_people_of_few_photographs_are_too_few() -> None:
    assert "too_few" in band(describe_people(survey_of([(n % 4, 40.0, 0.5) for n in range(40)]), "x"), "everyone")


def test_the_contrast_is_darker_less_lighter() -> None:
    people = [(n, 40.0, 0.5) for n in range(12)] + [(n, 60.0, 0.9) for n in range(20, 34)]
    contrast = describe_people(survey_of(people), "x")["contrasts"][0]
    assert contrast["contrast"] == "L* below 50 less L* from 50"
    assert (contrast["darker"]["people"], contrast["lighter"]["people"]) == (12, 14)
    assert contrast["chroma_ratio"] == pytest.approx((-0.4, -0.4, -0.4))
    assert contrast["delta_e"].value == pytest.approx(5 - 1)


def test_a_difference_of_hues_goes_the_short_way() -> None:
    """170 degrees less -170 degrees is -20, not 340."""
    sums = np.zeros((10, 2 * len(COLUMNS)))
    for half, angle in ((0, 170), (len(COLUMNS), -170)):
        sums[:, half + PLACE["product"]] = np.cos(np.radians(angle))
        sums[:, half + PLACE["cross"]] = np.sin(np.radians(angle))
    assert difference(sums, range(10), "hue_shift") == pytest.approx((-20, -20, -20))


def test_photographs_without_people_have_no_bands() -> None:
    assert describe_people(survey_of([]), "x") == {"bands": [], "contrasts": []}

"""One pass over photographs: which objects and people are included, and statistics of categories."""

from collections import Counter

import numpy as np
import pytest
import torch

from colorize.bias.categories import describe_model
from colorize.bias.regions import LEAST, Output, Truth
from colorize.bias.survey import DataSurvey, ModelSurvey
from colorize.bias.things import SIDE, Photograph, Thing
from colorize.metrics.regions import border_jump
from colorize.srgb import lab
from tests.conftest import colorful_image

SKIN = (224, 172, 140)


def rectangle(top: int, bottom: int, left: int, right: int) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[top:bottom, left:right] = True
    return mask


def photograph(things: list[Thing], color: tuple[int, ...] | None = None) -> Photograph:
    """Paint all things in one color, over a picture in many."""
    rgb = np.array(colorful_image(1, SIDE, SIDE))
    for thing in things:
        rgb[thing.mask] = rgb[thing.mask] if color is None else color
    return Photograph(1, "1.png", "digest", rgb, things)


def test_skin_is_that_of_people_alone() -> None:
    things = [
        Thing(1, "person", rectangle(10, 60, 10, 40)),
        Thing(2, "dog", rectangle(100, 150, 10, 40)),
        Thing(3, "person", rectangle(200, 205, 200, 219)),  # 95 pixels
    ]
    survey = ModelSurvey(["x"], band=4)
    picture = photograph(things, SKIN)
    survey.add(picture, {"x": picture.rgb})
    (person,) = survey.people
    L, a, b = lab(np.uint8([[SKIN]]))[:, 0, 0]
    assert (person.annotation, person.pixels) == (1, 50 * 30)
    assert (person.L, person.a, person.b) == pytest.approx((L, a, b), abs=1e-3)
    assert survey.people_outputs["x"] == [
        Output(person.a, person.b, person.chroma, 0, 0, pytest.approx(np.nan, nan_ok=True))
    ]


def test_only_the_part_of_a_person_that_is_skin_counts() -> None:
    picture = photograph([Thing(1, "person", rectangle(10, 60, 10, 40))], SKIN)
    picture.rgb[10:30, 10:40] = (20, 60, 160)
    survey = ModelSurvey(["x"], band=4)
    survey.add(picture, {"x": picture.rgb})
    assert survey.people[0].pixels == 30 * 30 and survey.things[0].pixels == 50 * 30


def test_small_things_are_counted_but_not_measured() -> None:
    things = [Thing(1, "car", rectangle(0, 10, 0, LEAST // 10)), Thing(2, "car", rectangle(50, 60, 0, LEAST // 10 - 1))]
    data, survey = DataSurvey(), ModelSurvey(["x"], band=4)
    picture = photograph(things)
    data.add(picture)
    survey.add(picture, {"x": picture.rgb})
    assert data.things == {"car": 2} and data.pixels == {"car": 2 * LEAST - 10}
    assert [row.annotation for row in data.rows] == [row.annotation for row in survey.things] == [1]


@pytest.mark.parametrize("band", [2, 9])
def test_spill_is_looked_for_in_the_band_that_is_asked_for(band) -> None:
    mask = rectangle(30, 90, 40, 160)
    survey = ModelSurvey(["x"], band)
    picture = photograph([Thing(1, "car", mask)])
    other = np.array(colorful_image(2, SIDE, SIDE))
    survey.add(picture, {"x": other})
    for found, rgb in ((survey.things[0], picture.rgb), (survey.thing_outputs["x"][0], other)):
        expected = border_jump(torch.from_numpy(lab(rgb)[1:].copy()), torch.from_numpy(mask), band).item()
        assert found.jump == pytest.approx(expected, rel=1e-4)


def test_overlapping_things_of_a_category_count_their_pixels_once_for_its_lightness() -> None:
    data = DataSurvey()
    data.add(photograph([Thing(1, "car", rectangle(0, 20, 0, 20)), Thing(2, "car", rectangle(10, 30, 0, 20))]))
    assert data.within["car"][1][:, 0].sum() == 30 * 20
    assert data.whole[1][:, 0].sum() == SIDE * SIDE


def test_all_things_together_are_diverse_within_their_categories() -> None:
    """Each category in its own one color has no diversity, however far apart the categories are."""
    survey = ModelSurvey(["x"], band=4)
    rng = np.random.default_rng(0)
    for number in range(40):
        category, a = ("car", -30.0) if number % 2 else ("dog", 30.0)
        true_a, true_b = a + rng.normal(), rng.normal()
        survey.things.append(Truth(number, "", number, category, 500, 50, true_a, true_b, abs(true_a), 1))
        survey.thing_outputs["x"].append(Output(a, 0.0, abs(a), 1, 1, 1))
    everything, *categories = describe_model(survey, "x", Counter(car=3, dog=7))
    assert everything["diversity_ratio"].value == pytest.approx(0, abs=1e-6)
    assert everything["followed"].value == pytest.approx(0, abs=1e-6)
    assert everything["chroma_ratio"].value == pytest.approx(1, abs=0.02)
    assert [(row["category"], row["frequency"], row["things"]) for row in categories] == [
        ("dog", 7, 20),
        ("car", 3, 20),
    ]

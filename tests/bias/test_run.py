"""The whole measurement, with methods of known results: the truth, gray, and half the chroma."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from colorize.base.errors import UserError
from colorize.bias.categories import rare_objects
from colorize.bias.intervals import UNKNOWN, Estimate
from colorize.bias.methods import Checkpoint, Pictures
from colorize.bias.run import Bias, measure_bias
from colorize.bias.tables import plain, write_results
from colorize.bias.things import SIDE, AnnotatedFolder, Photograph
from colorize.cli import app
from colorize.scenes.dataset import CATEGORIES, generate_scenes
from colorize.srgb import join, lab
from tests.coco_folder import box, write_coco
from tests.conftest import colorful_image

# pycocotools beside numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


class Gain:
    """Returns photographs with their chroma multiplied."""

    def __init__(self, gain: float, trained_on: set[str] | None = None) -> None:
        self.name, self.gain = f"gain {gain}", gain
        self.trained_on, self.notes = trained_on or set(), []

    def has(self, photograph: Photograph) -> bool:
        return True

    def __call__(self, photographs: Sequence[Photograph]) -> list[np.ndarray]:
        planes = [lab(photograph.rgb) for photograph in photographs]
        return [join(L, self.gain * a, self.gain * b, np.uint8)[0] for L, a, b in planes]


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bias") / "scenes"
    generate_scenes(folder, 24, size=128)
    return folder


@pytest.fixture(scope="module")
def found(root) -> Bias:
    torch.set_num_threads(1)  # as in tests: this runs before their fixture
    return measure_bias(AnnotatedFolder(str(root)), [Gain(1.0), Gain(0.0), Gain(0.5)])


def everything(found: Bias, name: str) -> dict:
    return found.summary["models"][name]["categories"][0]


def test_the_truth_has_no_bias(found) -> None:
    row = everything(found, "gain 1.0")
    for name in ("chroma_ratio", "diversity_ratio", "followed", "jump_ratio"):
        assert row[name].value == pytest.approx(1, abs=0.01), name
    for name in ("error", "delta_e", "hue_shift", "a_shift", "b_shift", "chroma_shift"):
        assert row[name].value == pytest.approx(0, abs=0.2), name
    assert found.summary["models"]["gain 1.0"]["blobs"].value == pytest.approx(0, abs=1e-3)


def test_grey_is_as_wrong_as_grey(found) -> None:
    row = everything(found, "gain 0.0")
    assert row["relative_error"].value == pytest.approx(1, abs=0.01)
    assert row["chroma_ratio"].value < 0.03 and row["jump_ratio"].value < 0.03 and row["diversity_ratio"].value < 0.03
    assert found.summary["models"]["gain 0.0"]["blobs"].value == pytest.approx(1, abs=0.01)


def test_half_the_chroma_is_half_of_everything(found) -> None:
    row = everything(found, "gain 0.5")
    for name in ("relative_error", "chroma_ratio", "diversity_ratio", "followed", "jump_ratio"):
        assert row[name].value == pytest.approx(0.5, abs=0.02), name
    assert found.summary["models"]["gain 0.5"]["blobs"].value == pytest.approx(0.25, abs=0.02)


def test_categories_are_counted_as_in_the_index(found, root) -> None:
    index = json.loads((root / "annotations/instances.json").read_text())
    names = {entry["id"]: entry["name"] for entry in index["categories"]}
    things = [names[entry["category_id"]] for entry in index["annotations"]]
    photographs = {(names[entry["category_id"]], entry["image_id"]) for entry in index["annotations"]}
    rows = found.summary["data"]["categories"]
    assert {row["category"]: row["things"] for row in rows} == {name: things.count(name) for name in set(things)}
    for row in rows:
        assert row["photographs"] == sum(name == row["category"] for name, _ in photographs)
    areas = dict.fromkeys(CATEGORIES, 0)
    for entry in index["annotations"]:
        areas[names[entry["category_id"]]] += entry["area"]
    for row in rows:
        assert row["share_of_pixels"] == pytest.approx(areas[row["category"]] / (24 * 128 * 128), rel=1e-6)


def test_photographs_that_were_trained_on_are_not_colored_and_give_the_frequencies(root) -> None:
    folder = AnnotatedFolder(str(root))
    photographs = list(folder)
    trained = photographs[:15]
    found = measure_bias(folder, [Gain(0.5, {photograph.picture for photograph in trained})])
    assert found.summary["photographs"] == 24 and found.summary["colored"] == 9
    assert {row.photograph for row in found.survey.things} <= {photograph.id for photograph in photographs[15:]}
    assert found.summary["notes"] == ["not colorized: 15 of 24 photographs, used for training"]
    assert found.summary["frequencies"] == "the 15 training photographs in scenes/instances.json"
    for row in found.summary["models"]["gain 0.5"]["categories"][1:]:
        having = [p for p in trained if row["category"] in {thing.category for thing in p.things}]
        assert row["frequency"] in (len(having), len(having) + 1)  # things of a pixel vanish from the mask


def test_frequencies_are_those_of_a_training_folder(root, tmp_path) -> None:
    boxes = [box(number, 1, 0, 0, 99, 99) for number in (1, 2)]
    pictures = [np.asarray(colorful_image(number, SIDE, SIDE)) for number in range(3)]
    training = AnnotatedFolder(str(write_coco(tmp_path / "x", pictures, boxes, ("tree",))))
    found = measure_bias(AnnotatedFolder(str(root)), [Gain(0.5)], training)
    rows = {row["category"]: row["frequency"] for row in found.summary["models"]["gain 0.5"]["categories"]}
    assert rows["tree"] == 2 and rows["cloud"] == 0
    assert found.summary["frequencies"] == "the 3 photographs of x/instances.json"


def test_if_all_were_trained_on_it_says_so(root) -> None:
    folder = AnnotatedFolder(str(root))
    with pytest.raises(UserError, match="no photograph with objects has a result of every method"):
        measure_bias(folder, [Gain(0.5, {photograph.picture for photograph in folder})])


def test_rare_categories_that_are_colored_worse_correlate() -> None:
    """The error falls with frequency, by hand; a category of four things does not count."""
    rows = []
    for place in range(12):
        measures = dict.fromkeys(("error", "delta_e", "diversity_ratio", "jump_ratio"), UNKNOWN)
        measures |= {"relative_error": Estimate(1 / (place + 1 + place % 2 * 3), 0, 0)}
        measures |= {"chroma_ratio": Estimate(place % 3, 0, 0)}
        rows.append({"category": str(place), "frequency": 10 * place, "things": 5 - (place == 0)} | measures)
    found = rare_objects(rows)
    assert [point["category"] for point in found["points"]] == [str(place) for place in range(1, 12)]
    correlation = found["correlations"]["relative_error"]
    assert correlation.value < -0.7 and correlation.high < 0
    assert not found["correlations"]["chroma_ratio"].known or found["correlations"]["chroma_ratio"].high > 0
    assert np.isnan(found["correlations"]["error"].value)


def test_results_are_strict_json_and_tables(found, tmp_path) -> None:
    sentences = write_results(found, tmp_path)
    written = json.loads((tmp_path / "bias.json").read_text(), parse_constant=pytest.fail)
    assert written["findings"] == sentences and len(sentences) > 10
    row = written["models"]["gain 0.5"]["categories"][0]
    assert row["chroma_ratio"]["value"] == everything(found, "gain 0.5")["chroma_ratio"].value
    with (tmp_path / "things.csv").open(newline="") as file:
        things = list(csv.DictReader(file))
    assert len(things) == 3 * len(found.survey.things)
    half = [thing for thing in things if thing["method"] == "gain 0.5"]
    chroma, true_chroma = (sum(float(thing[key]) for thing in half) for key in ("output_chroma", "chroma"))
    assert chroma / true_chroma == pytest.approx(row["chroma_ratio"]["value"])
    text = (tmp_path / "bias.md").read_text()
    assert all(sentence in text for sentence in sentences)
    assert all(f"| {name} |" in text for name in {thing["category"] for thing in things})


def test_palettes_say_what_becomes_of_each_color(tmp_path) -> None:
    """Half of the cars are red, the others blue."""
    pictures = []
    for color in [(200, 40, 40)] * 3 + [(40, 40, 200)] * 3:
        picture = np.array(colorful_image(len(pictures), SIDE, SIDE))
        picture[:100, :100] = color
        pictures.append(picture)
    root = write_coco(tmp_path / "x", pictures, [box(n, 1, 0, 0, 100, 100) for n in range(1, 7)], ("car",))
    found = measure_bias(AnnotatedFolder(str(root)), [Gain(1.0), Gain(0.0)])
    (red_or_blue, other) = found.summary["palettes"]["car"]
    assert {red_or_blue["true"], other["true"]} == {"#c82828", "#2828c8"} and red_or_blue["share"] == 0.5
    assert red_or_blue["gain 1.0"] == red_or_blue["true"]
    grey = red_or_blue["gain 0.0"]
    assert grey[1:3] == grey[3:5] == grey[5:7]


def test_histograms_and_the_mean_color_are_numpys(found, root) -> None:
    colors = np.concatenate([lab(photograph.rgb).reshape(3, -1) for photograph in AnnotatedFolder(str(root))], 1)
    for name, values in (("lightness", colors[0]), ("chroma", np.hypot(*colors[1:]))):
        one = found.summary["data"]["histograms"][name]
        assert one["shares"] == pytest.approx(np.histogram(values, one["edges"])[0] / values.size, abs=1e-6)
    mean = found.summary["data"]["mean"]
    assert (mean["a"].value, mean["b"].value) == pytest.approx(tuple(colors[1:].mean(1)), abs=1e-3)
    turned = found.summary["data"]["histograms"]["hue"]["shares"]
    hue = np.degrees(np.arctan2(colors[2], colors[1])) % 360
    top = int(np.bincount((hue // 10).astype(int), np.hypot(*colors[1:])).argmax())
    assert int(np.argmax(turned)) == top and sum(turned) == pytest.approx(1)


def test_plain_data_has_no_number_that_json_lacks() -> None:
    assert plain({"x": [np.float64("nan"), np.int64(3), float("inf"), "a"]}) == {"x": [None, 3, None, "a"]}


def test_pictures_are_matched_by_name_whatever_their_extension(root, tmp_path) -> None:
    folder = AnnotatedFolder(str(root))
    photographs = list(folder)
    for number, photograph in enumerate(photographs[:-2]):
        place = tmp_path / "colored/deep"
        place.mkdir(parents=True, exist_ok=True)
        name = Path(photograph.file).stem.upper() if number % 3 else photograph.file
        Image.fromarray(photograph.rgb).convert("L").save(place / f"{name}.webp")
    found = measure_bias(folder, [Pictures(tmp_path / "colored", folder.files(), tmp_path)])
    name = str(tmp_path / "colored")
    assert everything(found, name)["relative_error"].value == pytest.approx(1, abs=0.02)
    missing = f"not colorized: {name} has no picture of 2, the first is {photographs[-2].file}"
    assert found.summary["colored"] == 22 and missing in found.summary["notes"]


def test_of_two_pictures_with_the_name_of_a_photograph_neither_is_used(root, tmp_path) -> None:
    folder = AnnotatedFolder(str(root))
    first, second = folder.files()[:2]
    stem = Path(first).stem
    for name in (f"{stem}.png", f"{stem.upper()}.jpg", f"{Path(second).stem}.png"):
        colorful_image(0).save(tmp_path / name)
    method = Pictures(tmp_path, folder.files(), tmp_path / "out")
    photographs = {photograph.file: photograph for photograph in folder}
    assert method.has(photographs[second]) and not method.has(photographs[first])
    (note,) = (note for note in method.notes if "have the same name" in note)
    assert f"{stem}.png" in note and f"{stem.upper()}.jpg" in note


def test_a_damaged_picture_is_one_line(root, tmp_path) -> None:
    folder = AnnotatedFolder(str(root))
    for photograph in folder:
        (tmp_path / photograph.file).write_bytes(b"<html>")
    with pytest.raises(UserError, match="remove it to exclude its photograph"):
        measure_bias(folder, [Pictures(tmp_path, folder.files(), tmp_path / "out")])


def test_a_checkpoint_colors_with_the_gain_of_its_export(checkpoint, root, monkeypatch) -> None:
    (photograph, *_) = AnnotatedFolder(str(root))
    method = Checkpoint(str(checkpoint), "cpu")
    plain_chroma = np.hypot(*lab(method([photograph])[0])[1:]).mean()
    monkeypatch.setattr(method.colorizer, "gain", 0.5)
    half = np.hypot(*lab(method([photograph])[0])[1:]).mean()
    assert half == pytest.approx(plain_chroma / 2, rel=0.1)
    assert any("are unknown (it does not record them)" in note for note in method.notes)


def test_the_command_tells_its_findings_and_writes_them(checkpoint, root, tmp_path) -> None:
    result = CliRunner().invoke(app, ["bias", str(root), "-o", str(tmp_path), "--checkpoint", str(checkpoint)])
    assert result.exit_code == 0, result.output
    assert "lightness explains" in result.output and str(tmp_path / "bias.md") in result.output
    assert "are unknown" in result.output
    assert {path.name for path in tmp_path.iterdir()} == {
        *("bias.json", "bias.md", "data.csv", "categories.csv", "people_bands.csv"),
        *("things.csv", "people.csv", "photographs.csv"),
    }


def test_data_alone_need_no_model(root, tmp_path) -> None:
    result = CliRunner().invoke(app, ["bias", str(root), "-o", str(tmp_path), "--data-only", "--limit", "10"])
    assert result.exit_code == 0, result.output
    assert {path.name for path in tmp_path.iterdir()} == {"bias.json", "bias.md", "data.csv"}
    assert json.loads((tmp_path / "bias.json").read_text())["photographs"] == 10


def test_scenes_are_drawn_where_they_are_asked_for(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = AnnotatedFolder("scenes", limit=3)
    assert len(folder) == 3 and len(list(tmp_path.glob("data/scenes/*-3-1-256/images/*.png"))) == 3


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nowhere"], "data.root=nowhere is not a folder"),
        (["{root}", "--checkpoint", "x.ckpt"], "checkpoint x.ckpt is not a file"),
        (["{root}", "--pictures", "nowhere"], "nowhere is not a folder of pictures"),
    ],
)
def test_a_mistake_is_one_line(arguments, line, root, tmp_path, checkpoint, monkeypatch) -> None:
    monkeypatch.setenv("COLORIZE_CHECKPOINT", str(checkpoint))
    arguments = [argument.format(root=root) for argument in arguments]
    result = CliRunner().invoke(app, ["bias", *arguments, "-o", str(tmp_path)])
    assert result.exit_code == 2 and line in result.output and "Traceback" not in result.output

"""The included model: complete, small, the default, and better than gray on photographs."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from skimage.color import rgb2gray, rgb2lab
from typer.testing import CliRunner

from colorize import weights
from colorize.cli import app
from colorize.inference import Colorizer
from colorize.inference.predictor import load_predictor
from colorize.weights import DEFAULT, SHIPPED, located
from tests.conftest import colorful_image

FOLDER = SHIPPED[DEFAULT]


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLORIZE_CHECKPOINT": ""})


def test_the_folder_is_under_16_megabytes() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 16e6


def test_every_file_is_the_one_that_its_sum_tells_of() -> None:
    sums = dict(reversed(line.split("  ")) for line in (FOLDER / "SHA256SUMS").read_text().splitlines())
    assert set(sums) == {path.name for path in FOLDER.iterdir()} - {"SHA256SUMS"}
    for name, digest in sums.items():
        assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == digest, name


def test_it_says_nothing_of_the_machine_that_trained_it() -> None:
    for name in ("config.json", "README.md"):
        text = (FOLDER / name).read_text()
        assert not any(f'"{root}' in text or f"={root}" in text for root in ("/home", "/root", "/tmp", "/work"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("photographs", FOLDER), ("./photographs", Path("photographs")), (Path("photographs"), Path("photographs"))],
)
def test_a_shipped_name_is_taken_as_it_is_typed(name, expected) -> None:
    assert located(name) == expected


@pytest.mark.slow
def test_without_a_name_it_is_what_colors(tmp_path) -> None:
    picture = Image.fromarray(data.chelsea()).convert("L")
    picture.save(tmp_path / "photo.png")
    expected = np.asarray(Colorizer.from_checkpoint(FOLDER, "cpu").colorize(picture))
    assert np.array_equal(np.asarray(Colorizer.from_pretrained(device="cpu").colorize(picture)), expected)
    assert run("image", tmp_path / "photo.png", "-o", tmp_path / "out", "--device", "cpu").exit_code == 0
    written = np.asarray(Image.open(tmp_path / "out/photo.png"))
    assert np.abs(written - expected.astype(int)).max() <= 1  # its threads are others
    assert "kind                     of the package" in run("info", DEFAULT).stdout


@pytest.mark.slow
def test_photographs_are_colored_closer_to_the_truth_than_grey_is() -> None:
    """Four that it was not trained on, which scikit-image brings; chroma by scikit-image."""
    errors = []
    for picture in (data.astronaut(), data.chelsea(), data.coffee(), data.rocket()):
        true = rgb2lab(picture)[..., 1:]
        colored = rgb2lab(Colorizer.from_pretrained(device="cpu").colorize(rgb2gray(picture)))[..., 1:]
        errors.append((np.abs(colored - true).mean(), np.abs(true).mean()))
    own, grey = np.mean(errors, axis=0)
    assert own < 0.95 * grey


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_one_damaged_byte_is_one_line(name, tmp_path, monkeypatch) -> None:
    folder = tmp_path / "weights"
    shutil.copytree(FOLDER, folder)
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    monkeypatch.setitem(weights.SHIPPED, DEFAULT, folder)
    colorful_image(0).save(tmp_path / "photo.png")
    result = run("image", tmp_path / "photo.png", "-o", tmp_path / "out")
    assert result.exit_code == 2 and len(result.stderr.splitlines()) == 1
    assert f"the sha256 of {name} is not the one in SHA256SUMS" in result.stderr


@pytest.fixture
def scenes(checkpoint, tmp_path) -> Path:
    """Write a checkpoint that was trained on drawn scenes."""
    content = torch.load(checkpoint, weights_only=True)
    content["hyper_parameters"]["provenance"]["config"]["data"]["name"] = "scenes"
    torch.save(content, tmp_path / "scenes.ckpt")
    return tmp_path / "scenes.ckpt"


def test_a_model_of_drawn_scenes_warns(scenes, checkpoint, tmp_path) -> None:
    with pytest.warns(
        UserWarning, match=r"scenes\.ckpt was trained on generated scenes; photographs are colored better"
    ):
        Colorizer.from_pretrained(scenes)
    assert Colorizer(load_predictor(checkpoint)).caution is None
    colorful_image(0).save(tmp_path / "photo.png")
    result = run("image", tmp_path / "photo.png", "-o", tmp_path / "out", "--checkpoint", scenes)
    assert result.exit_code == 0
    assert f"checkpoint {scenes} was trained on generated scenes" in result.stderr

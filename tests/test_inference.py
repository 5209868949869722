"""Colorizing pictures with a checkpoint, from Python and from the command line."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import rgb2lab
from typer.testing import CliRunner

from colorize.cli import app
from colorize.errors import UserError
from colorize.inference import Colorizer
from colorize.networks import build_generator
from tests.conftest import colorful_image


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    settings = {"name": "unet", "n_down": 5, "num_filters": 4}
    torch.manual_seed(0)
    weights = {f"generator.{key}": value for key, value in build_generator(**settings).state_dict().items()}
    weights["generator.model.3.bias"] = torch.tensor([0.15, -0.1])  # a visible colour
    path = tmp_path_factory.mktemp("checkpoint") / "x.ckpt"
    torch.save({"state_dict": weights, "hyper_parameters": {"generator": settings, "image_size": 32}}, path)
    return path


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (321, 123)])
def test_the_size_stays(checkpoint, size) -> None:
    assert Colorizer.from_checkpoint(checkpoint, "cpu").colorize(Image.new("L", size, 90)).size == size


def test_the_lightness_stays_and_colour_comes(checkpoint) -> None:
    grey = colorful_image(0, 90, 70).convert("L").point(lambda value: 60 + value // 2)  # where the gamut is wide
    colored = rgb2lab(np.asarray(Colorizer.from_checkpoint(checkpoint, "cpu").colorize(grey)))
    assert np.abs(colored[..., 0] - rgb2lab(np.asarray(grey.convert("RGB")))[..., 0]).max() < 1.0
    assert np.abs(colored[..., 1:]).mean() > 5


def test_a_device_that_is_not_here_is_named(checkpoint) -> None:
    with pytest.raises(UserError, match="device=tpu is not here; use one of auto"):
        Colorizer.from_checkpoint(checkpoint, "tpu")


def run(*args: str):
    return CliRunner().invoke(app, ["image", *args])


def test_the_command_colours_files_and_names_the_bad(checkpoint, tmp_path) -> None:
    colorful_image(0).save(tmp_path / "good.jpg")
    (tmp_path / "bad.jpg").write_text("no image")
    files = [str(tmp_path / name) for name in ("bad.jpg", "good.jpg")]
    result = run(*files, "--checkpoint", str(checkpoint), "-o", str(tmp_path / "out"))
    assert result.exit_code == 1
    assert "bad.jpg: cannot identify image file" in result.output
    with Image.open(tmp_path / "out/good.png") as colored:
        assert colored.size == (48, 40)


def test_the_command_never_overwrites(checkpoint, tmp_path) -> None:
    colorful_image(0).save(tmp_path / "x.png")
    before = (tmp_path / "x.png").read_bytes()
    result = run(str(tmp_path / "x.png"), "--checkpoint", str(checkpoint), "-o", str(tmp_path))
    assert result.exit_code == 1 and "exists already" in result.output
    assert (tmp_path / "x.png").read_bytes() == before


def test_a_bad_checkpoint_is_one_line_and_status_2(tmp_path) -> None:
    result = run("x.png", "--checkpoint", str(tmp_path / "gone.ckpt"), "-o", str(tmp_path))
    assert result.exit_code == 2 and len(result.output.strip().splitlines()) == 1

"""A model is fine-tuned on a user's photographs, and saved only if it is better on held-out ones."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import lab2rgb
from typer.testing import CliRunner

from colorize.base.errors import UserError
from colorize.checkpoint import read_model
from colorize.cli import app
from colorize.experiments.adapt import adapt, paired_interval
from colorize.inference import Colorizer
from colorize.metrics.gain import gain_sums, l1_at_cf
from tests.conftest import colorful_image


@pytest.fixture(scope="module")
def one_color(tmp_path_factory) -> Path:
    """Write 60 photographs of varied lightness, all of one color, which is not what the checkpoint gives."""
    folder = tmp_path_factory.mktemp("one_color")
    for number in range(60):
        L = np.asarray(colorful_image(number, 40, 40).convert("L"), np.float32) / 255 * 40 + 30
        lab = np.stack([L, np.full_like(L, 20), np.full_like(L, 10)], axis=-1)
        Image.fromarray((lab2rgb(lab) * 255).round().astype(np.uint8)).save(folder / f"{number}.png")
    return folder


@pytest.mark.slow
def test_a_model_that_colors_held_out_photographs_better_is_exported(checkpoint, one_color, tmp_path) -> None:
    done = adapt(one_color, tmp_path / "model", str(checkpoint))
    assert (done.trained_on, done.held_out) == (48, 12)
    assert done.after < done.before and done.interval[0] <= done.after - done.before <= done.interval[1] < 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]  # no run, no image store
    model, start = read_model(tmp_path / "model"), read_model(checkpoint)
    assert model.about["provenance"]["start"]["init_from"]["name"] == checkpoint.name
    assert model.about["epochs"] == 10 and model.about["gain"] > 0
    assert any(not torch.equal(value, start.weights[name].half().float()) for name, value in model.weights.items())


@pytest.mark.slow
def test_a_model_that_got_no_better_is_not_kept(checkpoint, tmp_path) -> None:
    """What the checkpoint itself has colored, it can only learn to color worse."""
    colorizer = Colorizer.from_checkpoint(checkpoint, "cpu")
    (tmp_path / "photos").mkdir()
    for number in range(50):
        colorizer.colorize(colorful_image(number, 32, 32)).save(tmp_path / f"photos/{number}.png")
    arguments = ["adapt", str(tmp_path / "photos"), "-o", str(tmp_path / "model"), "--checkpoint", str(checkpoint)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        f"not better than {checkpoint} on these photographs: {tmp_path / 'model'} is not written"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_too_few_photographs_are_refused_at_once(checkpoint, photos, tmp_path) -> None:
    with pytest.raises(UserError, match=r"holds 25 photographs; adapting needs at least 50"):
        adapt(photos, tmp_path / "model", str(checkpoint))


def test_what_is_there_is_not_overwritten(checkpoint, photos, tmp_path) -> None:
    with pytest.raises(UserError, match=r"exists already; name a new folder with --out"):
        adapt(photos, tmp_path, str(checkpoint))


def drawn(seed: int, images: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw the sums of two models: the second's error is a little smaller, on most images."""
    draw = torch.Generator().manual_seed(seed)
    L = torch.rand(images, 1, 32, 32, generator=draw) - 0.5
    true = torch.rand(images, 2, 32, 32, generator=draw) * 0.4 - 0.2
    noise = [torch.rand(images, 2, 32, 32, generator=draw) * amount - amount / 2 for amount in (0.4, 0.36)]
    draws = [(L, true + each, true) for each in noise]
    return tuple(torch.stack([gain_sums(*(x[i : i + 1] for x in d)) for i in range(images)]) for d in draws)


def test_the_interval_is_that_of_resampled_pairs() -> None:
    before, after = drawn(0, 30)
    rows = np.random.default_rng(1).integers(30, size=(4000, 30))
    changes = [(l1_at_cf(after[row].sum(0)) - l1_at_cf(before[row].sum(0))).item() for row in rows]
    assert paired_interval(before, after) == pytest.approx(np.quantile(changes, [0.025, 0.975]), rel=0.1)


def test_the_interval_is_of_pairs() -> None:
    """A model compared with itself differs by nothing, however much its images do."""
    before, _ = drawn(0, 10)
    assert paired_interval(before, before) == (0.0, 0.0)

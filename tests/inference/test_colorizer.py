"""Colorizing pictures from Python."""

import inspect
import subprocess
import sys
from dataclasses import asdict
from types import MappingProxyType
from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import rgb2lab

from colorize.base.errors import UserError
from colorize.inference import painting
from colorize.inference.colorizer import ENSEMBLES, FITS, Colorizer, Options
from colorize.inference.painting import ArrayPicture
from colorize.inference.pytorch import TorchPredictor
from colorize.inference.tint import TINTS
from tests.conftest import colorful_image


class Stub:
    """Predicts from lightness by a formula; fails like a device whose memory holds ``most`` pixels."""

    image_size, factor, about = 32, 32, MappingProxyType({})

    def __init__(self, most: int | None = None) -> None:
        self.most, self.shapes = most, []

    def __call__(self, L: np.ndarray) -> np.ndarray:
        self.shapes.append(L.shape)
        if self.most and L.size > self.most:
            raise MemoryError
        return np.concatenate([L / 4, -L / 8], axis=1)


@pytest.fixture(scope="module")
def colorizer(checkpoint) -> Colorizer:
    return Colorizer.from_checkpoint(checkpoint, "cpu")


def grey_picture(width: int = 90, height: int = 70) -> Image.Image:
    """Draw one where the gamut is wide."""
    return colorful_image(0, width, height).convert("L").point(lambda value: 60 + value // 2)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (7, 300), (32, 32), (321, 123)])
@pytest.mark.parametrize("fit", ["pad", "stretch"])
def test_the_size_stays(colorizer, size, fit) -> None:
    assert colorizer.colorize(Image.new("L", size, 90), fit=fit).size == size


def test_the_lightness_stays_and_color_comes(colorizer) -> None:
    grey = grey_picture()
    colored = rgb2lab(np.asarray(colorizer.colorize(grey)))
    before = rgb2lab(np.asarray(grey.convert("RGB")))[..., 0]
    assert np.abs(colored[..., 0] - before).max() < 0.25  # half of an 8-bit level
    assert np.abs(colored[..., 1:]).mean() > 5


def test_colors_of_the_input_are_not_looked_at(colorizer) -> None:
    colors = colorful_image(1)
    lab = rgb2lab(np.asarray(colorizer.colorize(colors)))
    assert np.abs(lab[..., 0] - rgb2lab(np.asarray(colors))[..., 0]).max() < 0.3
    assert np.abs(lab[..., 1:].std(axis=(0, 1))).max() < 8 < rgb2lab(np.asarray(colors))[..., 1:].std(axis=(0, 1)).max()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_an_array_comes_back_as_one_of_its_kind(colorizer, dtype) -> None:
    pixels = np.asarray(grey_picture())
    scale = {np.uint8: 1, np.uint16: 257}.get(dtype, 1 / 255)
    given = (pixels * np.float64(scale)).astype(dtype)
    colored = colorizer.colorize(given)
    assert colored.dtype == dtype and colored.shape == (70, 90, 3)
    expected = np.asarray(colorizer.colorize(grey_picture()))
    assert np.abs(colored / scale - expected).max() <= 1.01


@pytest.mark.parametrize("shape", [(70, 90), (1, 70, 90), (3, 70, 90)])
def test_a_tensor_comes_back_as_a_tensor(colorizer, shape) -> None:
    given = torch.from_numpy(np.asarray(grey_picture()).copy()).expand(shape)
    colored = colorizer.colorize(given)
    assert colored.dtype == torch.uint8 and colored.shape == (3, 70, 90)
    expected = np.asarray(colorizer.colorize(grey_picture()))
    assert np.abs(colored.permute(1, 2, 0).numpy().astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((4, 4, 2), np.uint8), np.zeros(4), np.full((4, 4), 1.5), np.zeros((4, 4), np.int64), np.zeros((0, 4))],
)
def test_what_is_no_picture_is_told(colorizer, wrong) -> None:
    with pytest.raises(ValueError, match="expected a grey or RGB picture of uint8, uint16, or floats"):
        colorizer.colorize(wrong)


def test_transparency_stays(colorizer) -> None:
    image = grey_picture().convert("LA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    colored = colorizer.colorize(image)
    assert colored.mode == "RGBA" and colored.getchannel("A").tobytes() == image.getchannel("A").tobytes()


def test_a_batch_equals_its_pictures_one_by_one(colorizer) -> None:
    pictures = [grey_picture(90, 70), np.asarray(grey_picture(40, 80)), grey_picture(64, 64), grey_picture(90, 70)]
    together = colorizer.colorize_batch(pictures)
    for picture, colored in zip(pictures, together, strict=True):
        assert np.abs(np.asarray(colored).astype(int) - np.asarray(colorizer.colorize(picture))).max() <= 1


def test_strength_scales_the_chroma() -> None:
    colorizer = Colorizer(Stub())
    chroma = {
        strength: np.hypot(
            *np.moveaxis(rgb2lab(colorizer.colorize(np.full((32, 32), 0.6), strength=strength)), -1, 0)[1:]
        )
        for strength in (0, 0.5, 1, 1.5)
    }
    assert chroma[0].max() < 0.1
    assert chroma[0.5].mean() * 2 == pytest.approx(chroma[1].mean(), rel=0.01)
    assert chroma[1.5].mean() == pytest.approx(1.5 * chroma[1].mean(), rel=0.01)


def test_padding_keeps_the_shape_and_stretching_does_not() -> None:
    stub = Stub()
    Colorizer(stub).colorize(Image.new("L", (120, 40)), working_size=96)
    Colorizer(stub).colorize(Image.new("L", (120, 40)), working_size=96, fit="stretch")
    assert stub.shapes == [(1, 1, 32, 96), (1, 1, 96, 96)]


def test_the_working_size_is_that_of_training_if_none_is_given() -> None:
    stub = Stub()
    Colorizer(stub).colorize(Image.new("L", (120, 120)))
    assert stub.shapes == [(1, 1, 32, 32)]


def test_padding_leaves_no_trace() -> None:
    ramp = np.linspace(0.2, 0.8, 30)[:, None].repeat(20, axis=1)
    chroma = Colorizer(Stub()).predict([ArrayPicture(ramp)], Options())[0]
    assert chroma.ab.shape[1:] == chroma.L.shape == (32, 21)
    assert np.abs(chroma.ab[0] - 110 * (chroma.L / 50 - 1) / 4).max() < 1e-3


def test_the_ensemble_is_the_mean_with_the_mirror_image() -> None:
    class Lopsided(Stub):
        def __call__(self, L: np.ndarray) -> np.ndarray:
            ramp = np.linspace(0, 1, L.shape[-1], dtype=np.float32)
            return np.broadcast_to(ramp, (len(L), 2, *L.shape[2:])).copy()

    source = [ArrayPicture(np.full((32, 32), 0.5))]
    assert np.allclose(Colorizer(Lopsided()).predict(source, Options(ensemble="flip"))[0].ab, 55, atol=1e-3)


def test_a_batch_too_large_for_memory_is_halved_for_good() -> None:
    stub = Stub(most=2 * 32 * 32)
    colorizer = Colorizer(stub, batch_size=8)
    expected = Colorizer(Stub()).colorize(grey_picture(32, 32))
    for colored in colorizer.colorize_batch([grey_picture(32, 32)] * 8):
        assert np.array_equal(colored, expected)
    assert colorizer.batch_size == 2
    assert [shape[0] for shape in stub.shapes] == [8, 4, 2, 2, 2, 2]


def test_a_picture_too_large_for_memory_is_tiled() -> None:
    stub = Stub(most=64 * 64)
    chroma = Colorizer(stub).predict([ArrayPicture(np.asarray(grey_picture(200, 150)))], Options(working_size=192))[0]
    assert max(np.prod(shape) for shape in stub.shapes[1:] if np.prod(shape) <= 64 * 64) == 64 * 64
    assert np.abs(chroma.ab[0] - 110 * (chroma.L / 50 - 1) / 4).max() < 1e-3  # no seams


def test_too_little_memory_even_for_tiles_is_one_line() -> None:
    with pytest.raises(UserError, match=r"not enough memory to predict at 32x32; use a smaller --working-size, more"):
        Colorizer(Stub(most=5)).colorize(grey_picture())


def test_too_little_memory_for_the_picture_is_one_line(monkeypatch) -> None:
    monkeypatch.setattr(painting, "memory_available", lambda: 10_000)
    with pytest.raises(UserError, match=r"90x70 pixels need 0\.0 GB of memory"):
        Colorizer(Stub()).colorize(grey_picture())


def test_memory_that_runs_out_in_pytorch_is_known_as_such() -> None:
    class Greedy(torch.nn.Module):
        factor = 1

        def forward(self, L: torch.Tensor) -> torch.Tensor:
            return torch.empty(2**60)

    with pytest.raises(MemoryError):
        TorchPredictor(Greedy(), 32)(np.zeros((1, 1, 32, 32), np.float32))


def test_bf16_differs_by_rounding_only(checkpoint, colorizer) -> None:
    rough = Colorizer.from_checkpoint(checkpoint, "cpu", precision="bf16").colorize(grey_picture())
    difference = np.abs(np.asarray(rough).astype(int) - np.asarray(colorizer.colorize(grey_picture())))
    assert 0 < difference.max() <= 4


@pytest.mark.parametrize("method", [Colorizer.colorize, Colorizer.colorize_batch])
def test_the_signature_names_every_option_with_its_default_and_choices(method) -> None:
    parameters = inspect.signature(method).parameters
    assert {name: parameters[name].default for name in list(parameters)[2:]} == asdict(Options())
    for name, choices in (("fit", FITS), ("ensemble", ENSEMBLES), ("tint", TINTS)):
        assert get_args(parameters[name].annotation) == tuple(choices)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strength": 2}, "strength must be a number from 0 to 1.5; got 2"),
        ({"strength": float("nan")}, "strength must be a number from 0 to 1.5; got nan"),
        ({"working_size": 3}, "working_size must be null or a whole number from 16 to 4096; got 3"),
        ({"fit": "crop"}, "unknown fit 'crop'; choose one of \\['pad', 'stretch'\\]"),
        ({"ensemble": "all"}, "unknown ensemble 'all'; choose one of \\['none', 'flip'\\]"),
        ({"tint": "sepia"}, "unknown tint 'sepia'; choose one of \\['auto', 'keep', 'remove'\\]"),
    ],
)
def test_an_option_out_of_range_is_named(colorizer, options, message) -> None:
    with pytest.raises(UserError, match=message):
        colorizer.colorize(grey_picture(), **options)


def test_a_device_that_is_not_here_is_named(checkpoint) -> None:
    with pytest.raises(UserError, match="device=tpu is not available; use one of auto"):
        Colorizer.from_checkpoint(checkpoint, "tpu")


def test_a_precision_that_is_none_is_named(checkpoint) -> None:
    with pytest.raises(UserError, match="unknown precision '8'; choose one of"):
        Colorizer.from_checkpoint(checkpoint, "cpu", precision="8")


def test_coloring_imports_nothing_of_training(checkpoint) -> None:
    code = (
        "import sys; from PIL import Image; from colorize.inference import Colorizer; "
        f"Colorizer.from_checkpoint({str(checkpoint)!r}).colorize(Image.new('L', (9, 9))); "
        "sys.exit(str({'lightning', 'hydra', 'wandb', 'torchmetrics'} & set(sys.modules) or ''))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr.strip() == ""

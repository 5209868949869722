"""Fading, scratches and JPEG of training images, against values computed by hand or Pillow."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from colorize.data.damage import fade, jpeg, quantization, scratch
from colorize.lab import grey_to_l, l_to_grey
from tests.conftest import colorful_image


def test_fading_brings_black_up_and_white_down_in_units_of_l() -> None:
    L = torch.tensor([-1.0, 0.0, 1.0]).expand(1, 1, 5, 3)
    faded = fade(L, torch.tensor([30.0]), torch.tensor([10.0]), torch.ones(1, 4))
    torch.testing.assert_close(50 * (faded[0, 0, 2] + 1), torch.tensor([30.0, 60.0, 90.0]))


def test_fading_goes_bilinearly_from_corner_to_corner() -> None:
    shares = torch.tensor([[0.5, 0.7, 0.9, 1.0]])
    faded = fade(torch.full((1, 1, 5, 9), -1.0), torch.tensor([50.0]), torch.tensor([0.0]), shares) + 1
    corners = faded[0, 0, [0, 0, 4, 4], [0, 8, 0, 8]]
    torch.testing.assert_close(corners, shares[0])
    assert faded[0, 0, 2, 4].item() == pytest.approx(0.775)  # their mean
    assert faded[0, 0, 0, 2].item() == pytest.approx(0.55)  # a quarter of the way


def marked(*mark: float, height: int = 12, width: int = 16) -> np.ndarray:
    """Return a black picture, 0, after a mark of white, 1."""
    return (scratch(torch.full((1, 1, height, width), -1.0), torch.tensor([[mark]]))[0, 0].numpy() + 1) / 2


def test_a_scratch_covers_its_pixels_and_parts_of_their_neighbors() -> None:
    found = marked(8 / 16, 6 / 12, 4 / 12, 0, 3, 1)  # columns 6.5 to 9.5, rows 4 to 8
    expected = np.zeros((12, 16))
    expected[4:8, 6:10] = [0.5, 1, 1, 0.5]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_scratch_thinner_than_a_pixel_is_fainter() -> None:
    assert marked(8.5 / 16, 0.5, 1, 0, 0.25, 1)[6, 8] == pytest.approx(0.25)


def test_a_scratch_leans_by_so_many_columns_a_row() -> None:
    found = marked(8.5 / 16, 6.5 / 12, 9 / 12, 0.5, 1, 1)
    centers = (found * (np.arange(16) + 0.5)).sum(1)[2:11] / found.sum(1)[2:11]
    np.testing.assert_allclose(centers, 8.5 + 0.5 * np.arange(-4, 5), atol=1e-4)


def test_a_speck_without_length_is_as_long_as_it_is_wide() -> None:
    found = marked(8 / 16, 6 / 12, 0, 0, 2, 1)
    assert found[5:7, 7:9].min() == pytest.approx(1) and found.sum() == pytest.approx(4)


def test_marks_are_opaque_in_part_and_black_or_white() -> None:
    L = torch.full((2, 1, 4, 4), 0.5)
    marks = torch.tensor([[[0.5, 0.5, 2.0, 0.0, 8.0, 0.5]], [[0.5, 0.5, 2.0, 0.0, 8.0, -0.5]]])
    white, black = scratch(L, marks)
    torch.testing.assert_close(white, torch.full_like(white, 0.75))
    torch.testing.assert_close(black, torch.full_like(black, -0.25))


@pytest.mark.parametrize("size", [(192, 128), (203, 125)])
@pytest.mark.parametrize("quality", [1, 10, 30, 49, 50, 75, 90, 100])
def test_jpeg_is_pillows(quality, size) -> None:
    picture = colorful_image(0, *size).convert("L")
    grain = np.random.default_rng(0).normal(0, 4, (size[1], size[0]))
    given = np.clip(np.asarray(picture) + grain, 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(given).save(file, "JPEG", quality=quality)
    expected = np.asarray(Image.open(file)).astype(int)
    L = grey_to_l(torch.from_numpy(given)[None, None] / 255)
    found = (255 * l_to_grey(jpeg(L, torch.tensor([float(quality)])))[0, 0]).round().int().numpy()
    # Where a coefficient is about half a step, the library's whole numbers may round it to the other side
    assert (np.abs(found - expected) <= 1).mean() > 0.98
    assert np.abs(found - expected).mean() < 0.1


def test_steps_are_pillows_at_every_quality() -> None:
    found = quantization(torch.arange(1.0, 101))
    for quality, steps in enumerate(found, start=1):
        file = io.BytesIO()
        Image.new("L", (8, 8)).save(file, "JPEG", quality=quality)
        assert steps.flatten().tolist() == Image.open(file).quantization[0]


def test_each_image_has_its_own_quality() -> None:
    torch.manual_seed(0)
    L = torch.rand(2, 1, 16, 16)
    both = jpeg(L, torch.tensor([20.0, 90.0]))
    assert torch.equal(both[:1], jpeg(L[:1], torch.tensor([20.0])))
    assert (both - L).abs().mean((1, 2, 3))[0] > 2 * (both - L).abs().mean((1, 2, 3))[1]

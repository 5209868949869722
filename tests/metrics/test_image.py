import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from colorize.base.errors import UserError
from colorize.metrics import colorfulness, colorfulness_abs, psnr, ssim


def noise(*shape, seed=0):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def pair():
    """Ten images, more than one chunk of SSIM: gradients with strong, weak and no noise."""
    rows, columns = torch.meshgrid(torch.arange(40), torch.arange(52), indexing="ij")
    target = torch.stack([rows * 6, columns * 4, rows + columns]).to(torch.uint8).repeat(10, 1, 1, 1)
    strength = torch.tensor([1.0, 0.5, 0.1, 0.02, 0.0] * 2).view(10, 1, 1, 1)
    out = torch.lerp(target.float(), noise(10, 3, 40, 52).float(), strength).round().to(torch.uint8)
    return out, target


def plane(red, green, blue):
    return torch.tensor([red, green, blue], dtype=torch.uint8).view(1, 3, 1, -1)


def test_ssim_matches_skimage(pair):
    images = [[image.permute(1, 2, 0).numpy() for image in batch] for batch in pair]
    expected = [structural_similarity(x, y, data_range=255, channel_axis=-1) for x, y in zip(*images, strict=True)]
    assert ssim(*pair).numpy() == pytest.approx(np.array(expected), abs=1e-6)


def test_ssim_of_flat_black_and_white_images_matches_skimage():
    black, white = torch.zeros(1, 3, 9, 9, dtype=torch.uint8), torch.full((1, 3, 9, 9), 255, dtype=torch.uint8)
    expected = structural_similarity(black[0].numpy(), white[0].numpy(), data_range=255, channel_axis=0)
    assert ssim(black, white).item() == pytest.approx(expected, abs=1e-9)


def test_ssim_of_identical_images_is_one(pair):
    assert torch.equal(ssim(pair[1], pair[1]), torch.ones(10))


def test_ssim_accepts_an_image_as_large_as_the_window():
    x, y = noise(1, 3, 7, 7), noise(1, 3, 7, 7, seed=1)
    expected = structural_similarity(x[0].numpy(), y[0].numpy(), data_range=255, channel_axis=0)
    assert ssim(x, y).item() == pytest.approx(expected, abs=1e-6)


def test_ssim_of_a_smaller_image_names_the_size_it_needs():
    image = noise(1, 3, 20, 6)
    with pytest.raises(UserError, match=r"20x6.*at least 7x7"):
        ssim(image, image)


def test_psnr_matches_skimage(pair):
    out, target = pair[0][:4], pair[1][:4]
    expected = [peak_signal_noise_ratio(y.numpy(), x.numpy(), data_range=255) for x, y in zip(out, target, strict=True)]
    assert psnr(out, target).numpy() == pytest.approx(np.array(expected), rel=1e-6)


def test_psnr_of_identical_images_is_that_of_one_step_in_one_value():
    image = noise(1, 3, 16, 16)
    expected = 10 * np.log10(255**2 * 3 * 16 * 16)
    assert psnr(image, image).item() == pytest.approx(expected, rel=1e-6)


def test_colorfulness_of_grey_is_zero():
    grey = noise(2, 1, 8, 8).repeat(1, 3, 1, 1)
    assert torch.equal(colorfulness(grey), torch.zeros(2))


def test_colorfulness_of_a_flat_color_is_three_tenths_of_its_opponent_length():
    # rg = 200 - 100 = 100, yb = (200 + 100) / 2 - 50 = 100, no spread
    assert colorfulness(plane([200], [100], [50])).item() == pytest.approx(0.3 * np.hypot(100, 100), rel=1e-6)


def test_colorfulness_follows_the_definition_of_2003():
    # rg is 100 and -100 (mean 0, deviation 100); yb is 50 and 50 (mean 50, deviation 0)
    image = plane([100, 0], [0, 100], [0, 0])
    assert colorfulness(image).item() == pytest.approx(100 + 0.3 * 50, rel=1e-6)


def test_the_published_variant_takes_absolute_values_first():
    # |rg| is 100 and 100 (mean 100, deviation 0); |yb| is 50 and 50
    image = plane([100, 0], [0, 100], [0, 0])
    assert colorfulness_abs(image).item() == pytest.approx(0.3 * np.hypot(100, 50), rel=1e-6)


def test_colorfulness_is_per_image():
    both = torch.cat([plane([200], [100], [50]), plane([7], [7], [7])])
    assert colorfulness(both).tolist() == pytest.approx([0.3 * np.hypot(100, 100), 0], rel=1e-6)


def test_float_images_are_refused_with_what_came():
    with pytest.raises(ValueError, match=r"uint8.*\(1, 3, 8, 8\) torch.float32"):
        colorfulness(torch.zeros(1, 3, 8, 8))


@pytest.mark.parametrize("score", [psnr, ssim])
def test_images_of_two_shapes_are_refused(score):
    with pytest.raises(ValueError, match=r"\(1, 3, 8, 8\).*\(1, 3, 8, 9\)"):
        score(noise(1, 3, 8, 8), noise(1, 3, 8, 9))

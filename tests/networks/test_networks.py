"""Shapes, sizes, receptive fields and initial weights of the networks."""

import pytest
import torch
from torch import nn

from colorize.base.errors import UserError
from colorize.networks import build_discriminator, build_generator, receptive_field


@pytest.mark.parametrize(("size", "n_down"), [(32, 5), (64, 6), (128, 7), (256, 8), (512, 9), (96, 5), (64, 4)])
def test_generator_keeps_the_size(size, n_down) -> None:
    generator = build_generator("unet", n_down=n_down, num_filters=2)
    assert generator(torch.zeros(2, 1, size, size)).shape == (2, 2, size, size)


def test_output_lies_between_minus_one_and_one() -> None:
    generator = build_generator("unet", n_down=5, num_filters=2)
    assert generator(100 * torch.randn(2, 1, 32, 32)).abs().max() <= 1


def test_a_size_that_cannot_work_names_one_that_does() -> None:
    with pytest.raises(UserError, match=r"image is 96x96.*use 256x256, or set generator.n_down=5"):
        build_generator("unet", num_filters=2)(torch.zeros(1, 1, 96, 96))


def test_the_named_size_works() -> None:
    generator = build_generator("unet", n_down=5, num_filters=2)
    assert generator(torch.zeros(1, 1, 96, 96)).shape[-1] == 96


def test_an_image_too_small_for_the_discriminator_is_refused() -> None:
    discriminator = build_discriminator("patch", num_filters=2)
    with pytest.raises(UserError, match="at least 24 a side"):
        discriminator.check_size(16, 16)
    assert discriminator(torch.zeros(1, 3, 24, 24)).shape == (1, 1, 1, 1)


def test_discriminator_gives_30_by_30_logits() -> None:
    assert build_discriminator("patch")(torch.zeros(1, 3, 256, 256)).shape == (1, 1, 30, 30)


@pytest.mark.parametrize(("n_down", "field"), [(1, 16), (2, 34), (3, 70), (4, 142)])  # Isola et al. 2017, appendix
def test_receptive_field_is_that_of_pix2pix(n_down, field) -> None:
    assert receptive_field(build_discriminator("patch", n_down=n_down, num_filters=2)) == field


def test_the_receptive_field_is_what_a_gradient_reaches() -> None:
    discriminator = build_discriminator("patch", num_filters=2, norm="none")
    image = torch.rand(1, 3, 160, 160, requires_grad=True)
    logits = discriminator(image)
    logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2].backward()
    reached = image.grad.abs().sum(1)[0].nonzero()
    assert (reached.amax(0) - reached.amin(0) + 1).tolist() == [70, 70]


def test_weights_are_drawn_as_the_report_says() -> None:
    torch.manual_seed(0)
    generator = build_generator("unet", n_down=5, num_filters=32)
    conv = torch.cat([m.weight.flatten() for m in generator.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)])
    norm = torch.cat([m.weight for m in generator.modules() if isinstance(m, nn.BatchNorm2d)])
    biases = [p for name, p in generator.named_parameters() if name.endswith("bias")]
    assert conv.mean().abs() < 1e-3 and abs(conv.std() - 0.02) < 1e-3
    assert abs(norm.mean() - 1) < 5e-3 and abs(norm.std() - 0.02) < 5e-3
    assert all((bias == 0).all() for bias in biases)


def test_an_unknown_generator_names_the_choices() -> None:
    with pytest.raises(UserError, match=r"unknown generator 'foo'; choose one of \['encoder_unet', 'unet'\]"):
        build_generator("foo")


@pytest.mark.parametrize("norm", ["batch", "instance", "group", "none"])
@pytest.mark.parametrize("spectral_norm", [False, True])
def test_a_discriminator_has_the_norm_that_was_asked_for(norm, spectral_norm) -> None:
    kinds = {"batch": nn.BatchNorm2d, "instance": nn.InstanceNorm2d, "group": nn.GroupNorm}
    discriminator = build_discriminator("patch", num_filters=6, norm=norm, spectral_norm=spectral_norm)
    assert discriminator(torch.zeros(2, 3, 64, 64)).shape == (2, 1, 6, 6)
    found = [kind for kind in kinds if any(isinstance(m, kinds[kind]) for m in discriminator.modules())]
    assert found == [norm] * (norm != "none")


def test_spectral_norm_bounds_every_layer() -> None:
    torch.manual_seed(0)
    discriminator = build_discriminator("patch", num_filters=4, norm="none", spectral_norm=True)
    for _ in range(30):  # each training pass refines the estimate
        discriminator(torch.randn(2, 3, 64, 64))
    for conv in (m for m in discriminator.modules() if isinstance(m, nn.Conv2d)):
        largest = torch.linalg.svdvals(conv.weight.flatten(1))[0]
        assert largest.item() == pytest.approx(1, rel=0.05)


def test_features_are_those_before_the_logits() -> None:
    discriminator = build_discriminator("patch", num_filters=4).eval()
    image, features = torch.randn(1, 3, 64, 64), []
    logits = discriminator(image, features)
    assert [x.shape[1:] for x in features] == [(4, 32, 32), (8, 16, 16), (16, 8, 8), (32, 7, 7)]
    assert torch.equal(discriminator.model[-1](features[-1]), logits)


def test_an_input_stride_of_two_judges_averages_of_two_by_two_pixels() -> None:
    torch.manual_seed(0)
    full = build_discriminator("patch", num_filters=4)
    half = build_discriminator("patch", num_filters=4, input_stride=2)
    half.load_state_dict(full.state_dict())  # the weights have the same names
    image = torch.randn(2, 3, 128, 128)
    averaged = (image[..., ::2, ::2] + image[..., 1::2, ::2] + image[..., ::2, 1::2] + image[..., 1::2, 1::2]) / 4
    torch.testing.assert_close(half(image), full(averaged))


def test_with_an_input_stride_field_and_smallest_size_count_pixels_of_the_input() -> None:
    discriminator = build_discriminator("patch", num_filters=2, norm="none", input_stride=2)
    assert receptive_field(discriminator) == 140
    image = torch.rand(1, 3, 320, 320, requires_grad=True)
    logits = discriminator(image)
    logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2].backward()
    reached = image.grad.abs().sum(1)[0].nonzero()
    assert (reached.amax(0) - reached.amin(0) + 1).tolist() == [140, 140]
    with pytest.raises(UserError, match="at least 48 a side"):
        discriminator.check_size(47, 64)
    assert discriminator(torch.zeros(1, 3, 48, 49)).shape == (1, 1, 1, 1)


def test_an_input_stride_below_one_is_refused() -> None:
    with pytest.raises(UserError, match=r"discriminator.input_stride must be a whole number of at least 1; got 0"):
        build_discriminator("patch", input_stride=0)

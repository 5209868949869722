"""Hints: drawn as in "Real-Time User-Guided Image Colorization", and their effect on a generator."""

import pytest
import torch

from colorize.base.errors import UserError
from colorize.data import Batch
from colorize.networks import build_generator
from colorize.networks.hints import draw_hints
from colorize.training.hinted import hinted_l1

SMALL = {"width": 16, "widths": [16, 8, 8], "encoder_weights": "none"}


def test_the_number_of_hints_is_geometric_and_one_image_in_eight_has_none() -> None:
    torch.manual_seed(0)
    masks = draw_hints(torch.zeros(4000, 2, 28, 28))[:, 2]  # so small that every patch is a pixel; few meet
    numbers = masks.sum((1, 2))
    shares = [(numbers == count).float().mean().item() for count in range(3)]
    assert shares == pytest.approx([1 / 8, 7 / 64, 49 / 512], abs=0.015)
    assert numbers.mean().item() == pytest.approx(7, rel=0.1)


@pytest.mark.parametrize(("side", "largest"), [(256, 9), (128, 4)])
def test_a_patch_is_a_square_of_up_to_9_pixels_of_256_with_uniform_sides(side, largest) -> None:
    torch.manual_seed(0)
    masks = draw_hints(torch.zeros(400, 2, side, side), 1)[:, 2]
    rows, columns = masks.amax(2).sum(1), masks.amax(1).sum(1)
    assert torch.equal(rows * columns, masks.sum((1, 2)))  # one rectangle
    for sides in (rows, columns):
        counts = torch.bincount(sides.long(), minlength=largest + 1)[1:] / len(masks)
        assert counts.tolist() == pytest.approx([1 / largest] * largest, abs=0.07)


def test_places_are_normal_around_the_middle_with_a_quarter_of_the_side() -> None:
    torch.manual_seed(0)
    masks = draw_hints(torch.zeros(1500, 2, 64, 64), 1)[:, 2]
    middles = (masks.amax(2) * torch.arange(64)).sum(1) / masks.amax(2).sum(1) / 64
    assert middles.mean().item() == pytest.approx(0.5, abs=0.02)
    inside = ((middles - 0.5).abs() < 0.25).float().mean()  # one standard deviation: .683 of a normal distribution
    assert inside.item() == pytest.approx(0.683, abs=0.03)


def test_a_hint_is_the_mean_color_of_its_patch_and_all_else_is_zero() -> None:
    torch.manual_seed(0)
    ab = torch.rand(40, 2, 64, 64) - 0.5
    hints = draw_hints(ab, 1)
    for image in range(40):
        mask = hints[image, 2] > 0
        for channel in range(2):
            inside = hints[image, channel][mask]
            assert inside.tolist() == pytest.approx([ab[image, channel][mask].mean().item()] * len(inside), abs=1e-5)
            assert hints[image, channel][~mask].abs().max() == 0


def test_hints_are_a_function_of_the_seed() -> None:
    ab = torch.rand(4, 2, 32, 32)
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        draws.append(draw_hints(ab))
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])


def test_a_generator_starts_deaf_to_hints_and_an_empty_mask_is_none() -> None:
    torch.manual_seed(0)
    generator, L = build_generator("encoder_unet", hints=True, **SMALL).eval(), torch.rand(2, 1, 64, 64) * 2 - 1
    torch.nn.init.normal_(generator.head.weight)
    hints = draw_hints(torch.rand(2, 2, 64, 64), 3)
    with torch.no_grad():
        assert torch.equal(generator(L, hints=hints), generator(L))
        for layer in generator.hints:
            torch.nn.init.normal_(layer.weight)
        assert torch.equal(generator(L, hints=torch.zeros(2, 3, 64, 64)), generator(L))
        assert not torch.allclose(generator(L, hints=hints), generator(L))


def test_a_generator_without_hints_refuses_them() -> None:
    with pytest.raises(UserError, match=r"takes no hints: train one with generator.hints=true"):
        build_generator("encoder_unet", **SMALL)(torch.zeros(1, 1, 32, 32), hints=torch.zeros(1, 3, 32, 32))


def test_hint_scores_are_the_error_with_the_truth_at_1_5_and_20_patches() -> None:
    torch.manual_seed(0)
    generator = build_generator("encoder_unet", hints=True, **SMALL).eval()
    for layer in (generator.head, *generator.hints):
        torch.nn.init.normal_(layer.weight)
    batch = Batch(torch.rand(2, 1, 64, 64) * 2 - 1, torch.rand(2, 2, 64, 64) - 0.5, torch.arange(2))
    with torch.no_grad():
        found = hinted_l1(generator, batch, seed=7)
        for name, points in {"l1_hints1": 1, "l1_hints5": 5, "l1_hints20": 20}.items():
            torch.manual_seed(7)
            predicted = generator(batch.L, hints=draw_hints(batch.ab, points))
            assert found.pop(name).item() == pytest.approx((predicted - batch.ab).abs().mean().item(), rel=1e-5)
    assert not found

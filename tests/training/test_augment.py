"""Augmentations change what they should and nothing else."""

import torch

from colorize.training.augment import cut_out, translate


def shifted(image: torch.Tensor, down: int, right: int) -> torch.Tensor:
    """Copy each pixel of (1, H, W) to its new place, if that is inside."""
    moved = torch.zeros_like(image)
    height, width = image.shape[1:]
    for row in range(height):
        for column in range(width):
            if 0 <= row + down < height and 0 <= column + right < width:
                moved[:, row + down, column + right] = image[:, row, column]
    return moved


def test_translation_keeps_every_pixel_that_stays_inside() -> None:
    torch.manual_seed(0)
    image = torch.rand(1, 16, 24) + 1
    possible = [shifted(image, down, right) for down in range(-2, 3) for right in range(-3, 4)]
    for moved in translate(image.expand(40, 1, 16, 24)):
        assert sum(torch.equal(moved, other) for other in possible) == 1


def test_translation_is_by_at_most_an_eighth_of_a_large_side() -> None:
    torch.manual_seed(0)
    x = torch.zeros(400, 1, 64, 64)
    x[:, :, 32, 32] = 1
    places = translate(x).nonzero()[:, 2:]
    assert places.amin(0).tolist() == [24, 24] and places.amax(0).tolist() == [40, 40]


def test_cutout_is_centred_anywhere_from_edge_to_edge() -> None:
    torch.manual_seed(0)
    holes = cut_out(torch.ones(600, 1, 16, 16))[:, 0] == 0
    for lines in (holes.any(2), holes.any(1)):  # (600, 16): rows, columns
        first, last = lines.int().argmax(1), 15 - lines.flip(1).int().argmax(1)
        # Of 8 pixels around a center from 0 to 16, those inside
        assert set(zip(first.tolist(), last.tolist(), strict=True)) == {
            (max(0, center - 4), min(15, center + 3)) for center in range(17)
        }

"""Chroma across the outlines of objects and over large areas, against values computed by hand."""

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_erosion

from colorize.metrics.regions import blob_energy, border_jump


def test_two_flat_colors_jump_by_their_distance() -> None:
    mask = torch.zeros(32, 40, dtype=torch.bool)
    mask[8:20, 10:30] = True
    ab = torch.where(mask, torch.tensor([0.3, 0.1])[:, None, None], torch.tensor([0.0, -0.3])[:, None, None])
    assert border_jump(ab, mask).item() == pytest.approx(0.5)
    assert border_jump(torch.ones(2, 32, 40), mask).item() == pytest.approx(0, abs=1e-6)


def test_each_border_pixel_compares_the_means_around_it() -> None:
    """Pixel by pixel, with SciPy's border."""
    draw = np.random.default_rng(0)
    mask = draw.random((20, 24)) < 0.6
    ab = draw.normal(size=(2, 20, 24))
    border = mask & ~binary_erosion(mask, border_value=1)
    distances = []
    for y, x in zip(*np.nonzero(border), strict=True):
        near = np.zeros_like(mask)
        near[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3] = True
        distances.append(np.linalg.norm(ab[:, near & mask].mean(1) - ab[:, near & ~mask].mean(1)))
    found = border_jump(torch.from_numpy(ab), torch.from_numpy(mask), band=2)
    assert found.item() == pytest.approx(np.mean(distances))


def test_the_edge_of_the_picture_is_no_border() -> None:
    assert border_jump(torch.zeros(2, 16, 16), torch.ones(16, 16, dtype=torch.bool)).isnan()


def test_blobs_are_errors_of_means_over_large_areas() -> None:
    true = torch.zeros(2, 2, 32, 32)
    true[:, 0] = 0.2
    checkered = true + 0.1 * (-1.0) ** (torch.arange(32)[:, None] + torch.arange(32))
    wrong = true.clone()
    wrong[1, 0, :16] = 0.5
    error, grey = blob_energy(checkered, true)
    assert error.tolist() == pytest.approx([0, 0], abs=1e-9) and grey.tolist() == pytest.approx([0.02, 0.02])
    assert blob_energy(wrong, true)[0].tolist() == pytest.approx([0, 0.3**2 / 4])

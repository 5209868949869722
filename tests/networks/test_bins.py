"""Chroma as bins, against "Colorful Image Colorization" written out with NumPy."""

import numpy as np
import pytest
import skimage.color
import torch

from colorize.losses.bins import BinsLoss
from colorize.networks.bins import annealed_mean, bin_centers, soft_targets

AB = 110


def test_the_bins_are_the_cells_of_10_units_that_hold_a_color_of_srgb() -> None:
    centers = (bin_centers() * AB).round().int()
    assert (centers % 10 == 0).all() and len(centers.unique(dim=0)) == len(centers) == 261
    draw = np.random.default_rng(0)
    colors = skimage.color.rgb2lab(draw.random((200, 200, 3)))[..., 1:].reshape(-1, 2)
    seen = {tuple(color) for color in np.round(colors / 10).astype(int) * 10}
    assert seen <= {tuple(center) for center in centers.tolist()}


def test_soft_targets_are_gaussian_shares_of_the_five_nearest_bins() -> None:
    torch.manual_seed(0)
    ab, centers = torch.rand(1, 2, 3, 4) - 0.5, bin_centers()
    bins, shares = soft_targets(ab, centers)
    for row, column in np.ndindex(3, 4):
        distances = np.linalg.norm((centers.numpy() - ab[0, :, row, column].numpy()) * AB, axis=1)
        nearest = np.argsort(distances)[:5]
        weights = np.exp(-(distances[nearest] ** 2) / (2 * 5**2))
        assert bins[0, :, row, column].tolist() == nearest.tolist()
        assert shares[0, :, row, column].numpy() == pytest.approx(weights / weights.sum(), abs=1e-4)


# Bins at a = 0 and a = 1 with probabilities .4 and .6: T = 1 is the mean, T = 1/2 squares the odds, T = 1/100 the mode
@pytest.mark.parametrize(("temperature", "expected"), [(1.0, 0.6), (0.5, 0.36 / (0.36 + 0.16)), (0.01, 1.0)])
def test_annealed_mean_lies_between_the_mean_and_the_mode(temperature, expected) -> None:
    logits = torch.tensor([0.4, 0.6]).log().view(1, 2, 1, 1)
    found = annealed_mean(logits, torch.tensor([[0.0, 0.5], [1.0, 0.5]]), temperature)
    assert found[0, :, 0, 0].tolist() == pytest.approx([expected, 0.5])


def test_loss_is_the_rebalanced_cross_entropy() -> None:
    torch.manual_seed(0)
    loss, logits, ab = BinsLoss(rebalance=0.5), torch.randn(2, 261, 2, 2), torch.rand(2, 2, 8, 8) - 0.5
    found = loss(logits, ab)
    means = ab.view(2, 2, 2, 4, 2, 4).mean((3, 5))  # of cells of 4 x 4
    bins, shares = (part.numpy() for part in soft_targets(means, bin_centers()))
    seen = np.zeros(261)
    for image, near, row, column in np.ndindex(bins.shape):
        seen[bins[image, near, row, column]] += shares[image, near, row, column] / 8
    weights = 1 / (0.5 * seen + 0.5 / 261)
    weights /= (seen * weights).sum()
    log_shares = torch.log_softmax(logits, 1).numpy()
    total = 0.0
    for image, row, column in np.ndindex(2, 2, 2):
        near = bins[image, :, row, column]
        entropy = -(shares[image, :, row, column] * log_shares[image, near, row, column]).sum()
        total += weights[near[0]] * entropy / 8
    assert found.item() == pytest.approx(total, rel=1e-4)


def test_how_often_bins_are_seen_is_the_mean_over_training_and_not_over_validation() -> None:
    torch.manual_seed(0)
    loss, logits = BinsLoss(), torch.zeros(1, 261, 2, 2)
    batches = [torch.full((1, 2, 4, 4), value) for value in (0.0, 0.3, -0.2)]
    alone = []
    for ab in batches:
        one = BinsLoss()
        one(logits, ab)
        alone.append(one.seen)
        loss(logits, ab)
    torch.testing.assert_close(loss.seen, torch.stack(alone).mean(0))
    before = loss.seen.clone()
    loss.eval()(logits, torch.full((1, 2, 4, 4), 0.7))
    assert torch.equal(loss.seen, before)


def test_without_rebalancing_all_weights_are_one() -> None:
    loss = BinsLoss(rebalance=1.0)
    loss(torch.zeros(1, 261, 2, 2), torch.rand(1, 2, 4, 4) - 0.5)
    torch.testing.assert_close(loss.weights(), torch.ones(261))

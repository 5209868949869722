"""Losses for photographs: the network's input, colorfulness, and bins, as parts of the objective and of a step."""

import copy
import math

import numpy as np
import pytest
import skimage.color
import timm
import torch
import torch.nn.functional as F
from skimage.measure import block_reduce
from torch import Tensor, nn

from colorize.base.errors import UserError
from colorize.losses import build_loss
from colorize.losses.colorfulness import colorfulness_distance
from colorize.losses.contract import LOSS_NAMES
from colorize.losses.perceptual import PerceptualLoss
from colorize.networks.backbones import load_weights, weights_file
from colorize.networks.hints import draw_hints
from colorize.training.game import Game, Turn
from colorize.training.ledger import Ledger
from colorize.training.module import ColorizationModule
from colorize.training.step import GanStep


def images(seed: int, side: int = 16) -> tuple[Tensor, Tensor, Tensor]:
    """Draw lightness and two chromas that sRGB can show."""
    torch.manual_seed(seed)
    return torch.rand(2, 1, side, side) * 0.4, torch.rand(2, 2, side, side) * 0.2, torch.rand(2, 2, side, side) * 0.2


def rgb(L: Tensor, ab: Tensor) -> np.ndarray:
    lab = torch.cat([(L + 1) * 50, ab * 110], 1).permute(0, 2, 3, 1).double().numpy()
    return skimage.color.lab2rgb(lab)


def test_colorfulness_distance_is_that_of_hasler_and_suesstrunk_over_100() -> None:
    L, fake, real = images(0)
    found = []
    for chroma in (fake, real):
        red, green, blue = np.moveaxis(rgb(L, chroma) * 255, -1, 0).reshape(3, 2, -1)
        rg, yb = red - green, (red + green) / 2 - blue
        found.append(np.hypot(rg.std(1), yb.std(1)) + 0.3 * np.hypot(rg.mean(1), yb.mean(1)))
    expected = np.abs(found[0] - found[1]).mean() / 100
    assert colorfulness_distance(L, fake, real).item() == pytest.approx(expected, rel=5e-3)


def test_colorfulness_distance_pulls_grey_toward_color_with_a_finite_gradient() -> None:
    L, _, real = images(0)
    grey = torch.zeros_like(real).requires_grad_()
    colorfulness_distance(L, grey, real).backward()
    assert grey.grad.isfinite().all()
    close = (0.01 * real).requires_grad_()
    colorfulness_distance(L, close, real).backward()
    assert (close.grad * real).sum() < 0  # more of the truth's chroma lowers it


@pytest.mark.parametrize("stride", [1, 2])
def test_perceptual_loss_is_the_relative_l1_of_timms_own_features(stride) -> None:
    L, fake, real = images(1, 64)
    network = timm.create_model("tf_efficientnet_lite1", features_only=True).eval()
    load_weights(network, weights_file("tf_efficientnet_lite1"), "loss.perceptual")
    maps = []
    for chroma in (fake, real):
        seen = block_reduce(rgb(L, chroma), (1, stride, stride, 1), np.mean)
        pixels = torch.from_numpy(seen).permute(0, 3, 1, 2).float()
        with torch.no_grad():
            maps.append(network((255 * pixels - 127) / 128))
    expected = np.mean([((f - r).abs().mean() / r.abs().mean()).item() for f, r in zip(*maps, strict=True)])
    loss = PerceptualLoss(stride=stride)
    assert loss(L, fake, real).item() == pytest.approx(expected, rel=1e-2)
    assert loss(L, real, real).item() == 0
    assert not loss.state_dict()  # 20 MB that no checkpoint needs


def test_the_objective_weighs_and_names_every_loss() -> None:
    L, fake, real = images(2, 64)
    logits = torch.randn(2, 261, 16, 16)
    weights = {"lambda_perceptual": 2.0, "lambda_colorfulness": 3.0, "lambda_bins": 0.5, "lambda_L1": 7.0}
    objective = build_loss("gan_l1", **weights)
    assert objective.extra_losses == ("loss_G_perceptual", "loss_G_colorfulness", "loss_G_bins")
    found = objective.reconstruction(fake, real, L, logits)
    bins = build_loss("gan_l1", lambda_bins=1.0).bins
    expected = {
        "loss_G_L1": 7 * F.l1_loss(fake, real),
        "loss_G_perceptual": 2 * PerceptualLoss()(L, fake, real),
        "loss_G_colorfulness": 3 * colorfulness_distance(L, fake, real),
        "loss_G_bins": 0.5 * bins(logits, real),
    }
    assert {k: v.item() for k, v in found.items()} == pytest.approx({k: v.item() for k, v in expected.items()})


STRIDE = {"perceptual_stride": 0, "lambda_perceptual": 1.0}


@pytest.mark.parametrize(
    "weights",
    [{"lambda_perceptual": -1}, {"lambda_colorfulness": -2.0}, {"lambda_bins": -0.1}, {"rebalance": 0}, STRIDE],
)
def test_a_weight_that_will_not_do_is_named(weights) -> None:
    with pytest.raises(UserError, match=f"loss.{next(iter(weights))} must be"):
        build_loss("gan_l1", **weights)


def test_bins_of_a_generator_that_has_none_are_refused() -> None:
    optim = {name: {"name": "adam", "lr": 1e-4, "betas": [0.5, 0.999]} for name in ("generator", "discriminator")}
    with pytest.raises(UserError, match=r"loss.lambda_bins needs bins: generator=encoder_unet"):
        ColorizationModule(
            generator={"name": "unet", "n_down": 5, "num_filters": 2},
            discriminator={"name": "patch", "num_filters": 2},
            loss={"name": "gan_l1", "lambda_bins": 1.0},
            optim=optim,
            image_size=64,
        )


class Hinted(nn.Module):
    """A generator of one convolution that takes hints and has bins."""

    takes_hints = True

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bins = nn.Conv2d(4, 2, 1), nn.Conv2d(4, 261, 4, stride=4)

    def forward(self, L: Tensor, hints: Tensor | None = None, logits: list[Tensor] | None = None) -> Tensor:
        x = torch.cat([L, torch.zeros(len(L), 3, *L.shape[2:]) if hints is None else hints], 1)
        if logits is not None:
            logits.append(self.bins(x))
        return self.conv(x).tanh()


@pytest.mark.parametrize("adversarial", [True, False])
def test_a_step_gives_the_generator_hints_of_the_truth_and_descends_all_losses(adversarial) -> None:
    L, _, ab = images(3)
    weights = {"lambda_L1": 10.0, "lambda_colorfulness": 2.0, "lambda_bins": 0.5}
    torch.manual_seed(0)
    generator, discriminator, objective = Hinted(), nn.Conv2d(3, 1, 4), build_loss("gan_l1", **weights)
    before, twin = copy.deepcopy(generator), copy.deepcopy(objective)
    lr = 0.1
    optimizers = tuple(torch.optim.SGD(network.parameters(), lr) for network in (generator, discriminator))
    ledger = Ledger((*LOSS_NAMES, *objective.extra_losses))
    rest = None, optimizers, (None, None), objective, Game(), ledger, torch.zeros(()), torch.zeros(()), Tensor.backward
    judge = copy.deepcopy(discriminator)
    torch.manual_seed(7)
    GanStep(generator, discriminator, *rest)(L, ab, Turn(discriminator=False, adversarial=adversarial))

    torch.manual_seed(7)
    hints, logits = draw_hints(ab), []
    fake = before(L, hints, logits)
    total = 10 * (fake - ab).abs().mean() + 2 * colorfulness_distance(L, fake, ab) + 0.5 * twin.bins(logits[0], ab)
    if adversarial:
        total = total + F.softplus(-judge(torch.cat([L, fake], 1))).mean()
    gradients = torch.autograd.grad(total, list(before.parameters()))
    for weight, old, gradient in zip(generator.parameters(), before.parameters(), gradients, strict=True):
        torch.testing.assert_close(weight, old - lr * gradient)
    assert math.isfinite(total.item())

"""Losses against values computed by hand."""

import math

import pytest
import torch

from colorize.errors import UserError
from colorize.losses import GANLoss, build_loss


def test_vanilla_is_binary_cross_entropy_of_logits() -> None:
    # -ln(sigmoid(0)) = ln 2; -ln(1 - sigmoid(2)) = ln(1 + e^2)
    assert GANLoss("vanilla")(torch.zeros(2, 1, 3, 3), True).item() == pytest.approx(math.log(2))
    assert GANLoss("vanilla")(torch.full((4,), 2.0), False).item() == pytest.approx(math.log(1 + math.e**2))


def test_lsgan_is_the_squared_distance_from_the_label() -> None:
    preds = torch.tensor([0.0, 3.0])
    assert GANLoss("lsgan")(preds, True).item() == pytest.approx((1 + 4) / 2)
    assert GANLoss("lsgan")(preds, False).item() == pytest.approx((0 + 9) / 2)


def test_labels_are_arguments() -> None:
    assert GANLoss("lsgan", real_label=0.9)(torch.zeros(1), True).item() == pytest.approx(0.81)
    assert GANLoss("lsgan", fake_label=0.1)(torch.zeros(1), False).item() == pytest.approx(0.01)


@pytest.mark.parametrize("gan_mode", ["vanilla", "lsgan"])
@pytest.mark.parametrize("target_is_real", [True, False])
def test_descent_moves_logits_towards_the_label(gan_mode, target_is_real) -> None:
    logits = torch.full((3,), 0.5, requires_grad=True)
    GANLoss(gan_mode)(logits, target_is_real).backward()
    assert ((logits.grad < 0) == target_is_real).all()


def test_an_unknown_gan_mode_names_the_choices() -> None:
    with pytest.raises(UserError, match=r"unknown gan_mode 'foo'; choose one of \['lsgan', 'vanilla'\]"):
        GANLoss("foo")


def test_discriminator_loss_is_the_mean_of_both_halves() -> None:
    losses = build_loss("gan_l1", gan_mode="lsgan").discriminator(torch.tensor([1.0]), torch.tensor([0.0]))
    assert {name: value.item() for name, value in losses.items()} == {"loss_D_fake": 1, "loss_D_real": 1, "loss_D": 1}


def test_generator_loss_adds_weighted_l1() -> None:
    objective = build_loss("gan_l1", gan_mode="lsgan", lambda_L1=100.0)
    losses = objective.generator(torch.tensor([0.0]), torch.full((1, 2, 2, 2), 0.25), torch.zeros(1, 2, 2, 2))
    assert {name: value.item() for name, value in losses.items()} == {"loss_G_GAN": 1, "loss_G_L1": 25, "loss_G": 26}


def test_losses_of_bf16_logits_are_float32() -> None:
    assert GANLoss("vanilla")(torch.zeros(3, dtype=torch.bfloat16), True).dtype == torch.float32

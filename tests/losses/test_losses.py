"""Losses against values computed by hand."""

import math

import pytest
import torch

from colorize.base.errors import UserError
from colorize.losses import MODES, GANLoss, build_loss
from colorize.losses.penalties import one_centred, squared_gradient, zero_centred


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


def test_hinge_is_zero_beyond_the_margin_and_linear_before_it() -> None:
    # D: mean of max(0, 1 - real) and of max(0, 1 + fake); G: minus the mean
    preds = torch.tensor([-2.0, 0.5, 3.0])
    assert GANLoss("hinge")(preds, True).item() == pytest.approx((3 + 0.5 + 0) / 3)
    assert GANLoss("hinge")(preds, False).item() == pytest.approx((0 + 1.5 + 4) / 3)
    assert GANLoss("hinge")(preds, True, for_generator=True).item() == pytest.approx(-0.5)


def test_wgan_is_the_difference_of_mean_scores() -> None:
    losses = build_loss("gan_l1", gan_mode="wgan-gp").discriminator(torch.tensor([1.0, 2.0]), torch.tensor([5.0]))
    assert {name: value.item() for name, value in losses.items()} == {
        "loss_D_fake": 1.5,
        "loss_D_real": -5,
        "loss_D": -1.75,
    }
    assert GANLoss("wgan-gp")(torch.tensor([1.0, 2.0]), True, for_generator=True).item() == -1.5


def test_relativistic_pairs_each_fake_with_its_real() -> None:
    # D: ln(1 + exp(fake - real)); G: ln(1 + exp(real - fake)); patch by patch
    objective = build_loss("gan_l1", gan_mode="relativistic", lambda_L1=0.0)
    fake, real = torch.tensor([1.0, 0.0]), torch.tensor([3.0, 0.0])
    by_hand_d = (math.log(1 + math.exp(-2)) + math.log(2)) / 2
    by_hand_g = (math.log(1 + math.exp(2)) + math.log(2)) / 2
    assert objective.discriminator(fake, real)["loss_D"].item() == pytest.approx(by_hand_d)
    ab = torch.zeros(1, 2, 2, 2)
    assert objective.generator(fake, ab, ab, real)["loss_G_GAN"].item() == pytest.approx(by_hand_g)


@pytest.mark.parametrize("gan_mode", sorted(MODES))
def test_descent_moves_logits_where_they_should_go(gan_mode) -> None:
    """D lowers fake and raises real; G raises fake, the more the worse it is judged ("non-saturating")."""
    objective = build_loss("gan_l1", gan_mode=gan_mode)
    fake, real = torch.tensor([-3.0, 0.3], requires_grad=True), torch.tensor([0.2, 0.4], requires_grad=True)
    objective.discriminator(fake, real)["loss_D"].backward()
    assert fake.grad[1] > 0 and (real.grad < 0).all()
    fake.grad, ab = None, torch.zeros(1, 2, 2, 2)
    objective.generator(fake, ab, ab, real.detach())["loss_G"].backward()
    assert (fake.grad < 0).all() and fake.grad[0] <= fake.grad[1]


@pytest.mark.parametrize("gan_mode", ["hinge", "wgan-gp"])
def test_labels_are_refused_where_there_are_none(gan_mode) -> None:
    with pytest.raises(UserError, match=f"gan_mode={gan_mode} has no labels to smooth"):
        GANLoss(gan_mode, real_label=0.9)


def test_an_unknown_gan_mode_names_the_choices() -> None:
    with pytest.raises(
        UserError,
        match=r"unknown gan_mode 'foo'; choose one of \['hinge', 'lsgan', 'relativistic', 'vanilla', 'wgan-gp'\]",
    ):
        GANLoss("foo")


def test_discriminator_loss_is_the_mean_of_both_halves() -> None:
    losses = build_loss("gan_l1", gan_mode="lsgan").discriminator(torch.tensor([1.0]), torch.tensor([0.0]))
    assert {name: value.item() for name, value in losses.items()} == {"loss_D_fake": 1, "loss_D_real": 1, "loss_D": 1}


def test_generator_loss_adds_weighted_l1() -> None:
    objective = build_loss("gan_l1", gan_mode="lsgan", lambda_L1=100.0)
    losses = objective.generator(torch.tensor([0.0]), torch.full((1, 2, 2, 2), 0.25), torch.zeros(1, 2, 2, 2))
    assert {name: value.item() for name, value in losses.items()} == {"loss_G_GAN": 1, "loss_G_L1": 25, "loss_G": 26}


def test_feature_matching_is_the_sum_over_layers() -> None:
    objective = build_loss("gan_l1", gan_mode="lsgan", lambda_L1=0.0, lambda_FM=10.0)
    features = [(torch.zeros(2, 3), torch.ones(2, 3)), (torch.zeros(4), torch.full((4,), 3.0))]
    ab = torch.zeros(1, 2, 2, 2)
    losses = objective.generator(torch.tensor([1.0]), ab, ab, None, features)
    assert losses["loss_G_FM"].item() == pytest.approx(10 * (1 + 3))
    assert losses["loss_G"].item() == pytest.approx(40)


def test_penalties_belong_to_their_modes_unless_set() -> None:
    auto = {"r1": "auto", "r2": "auto", "gp": "auto"}
    assert build_loss("gan_l1", gan_mode="vanilla", **auto).penalty_every == 0
    assert build_loss("gan_l1", gan_mode="wgan-gp", **auto).penalties == {"r1": 0, "r2": 0, "gp": 10}
    assert build_loss("gan_l1", gan_mode="relativistic", **auto | {"r2": 0.5}).penalties == {
        "r1": 1,
        "r2": 0.5,
        "gp": 0,
    }


def linear_patches(weight: torch.Tensor, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return chroma and logits of a D whose patches are single pixels: each gradient is ``weight``."""
    ab = torch.zeros(3, 2, side, side, requires_grad=True)
    return ab, torch.einsum("bchw,c->bhw", ab, weight)[:, None]


@pytest.mark.parametrize("side", [1, 8])
def test_zero_centred_penalty_is_half_the_squared_gradient_at_any_size(side) -> None:
    ab, logits = linear_patches(torch.tensor([3.0, 4.0]), side)
    assert zero_centred(logits, ab).item() == pytest.approx(25 / 2)


def test_one_centred_penalty_is_the_squared_distance_of_the_norm_from_one() -> None:
    weight = torch.tensor([3.0, 4.0])
    judge = lambda ab: torch.einsum("bchw,c->bhw", ab, weight)[:, None]  # noqa: E731
    assert one_centred(judge, torch.zeros(2, 2, 4, 4), torch.ones(2, 2, 4, 4)).item() == pytest.approx(16)


def test_squared_gradient_of_overlapping_patches_is_right_on_average() -> None:
    """The mean over draws of signs nears the mean over patches, each by a backward pass of its own."""
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(2, 1, 3)
    ab = torch.randn(1, 2, 5, 5, requires_grad=True)
    logits = conv(ab)
    exact = [torch.autograd.grad(x, ab, retain_graph=True)[0].square().sum() for x in logits.flatten()]
    drawn = torch.stack([squared_gradient(conv(ab), ab)[0].detach() for _ in range(2000)])
    assert drawn.mean().item() == pytest.approx(torch.stack(exact).mean().item(), rel=0.05)


def test_a_penalty_reaches_the_weights() -> None:
    weight = torch.tensor([3.0, 4.0], requires_grad=True)
    ab, logits = linear_patches(weight, 2)
    zero_centred(logits, ab).backward()
    assert torch.allclose(weight.grad, weight)  # of |w|^2 / 2


def test_losses_of_bf16_logits_are_float32() -> None:
    assert GANLoss("vanilla")(torch.zeros(3, dtype=torch.bfloat16), True).dtype == torch.float32

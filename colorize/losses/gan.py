"""Adversarial losses of a discriminator's logits."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from colorize.base.checks import one_of
from colorize.base.errors import UserError


class Mode(NamedTuple):
    """The losses and properties of a ``gan_mode``.

    Attributes:
        discriminator: D's loss, of logits and their label.
        generator: G's loss, of the fakes' logits and the label "real"; non-saturating: its gradient is largest where D
            is most certain that an image is fake.
        boundary: decision threshold between fake and real logits; ``None`` if only differences of logits matter.
        sure: difference of real and fake logits beyond which D's loss is nearly zero; ``None`` if there is none.
        labels: whether the values of the labels matter, not only whether they mean real or fake.
        relative: whether the losses take the difference of a logit and that of the paired image.
        penalties: weights of R1, R2 and the gradient penalty in the mode's paper.
    """

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor, Tensor], Tensor]
    boundary: float | None
    sure: float | None
    labels: bool = True
    relative: bool = False
    penalties: dict[str, float] = {}  # noqa: RUF012 - never changed


def _hinge(logits: Tensor, label: Tensor) -> Tensor:
    return F.relu(1 - logits * label.sign()).mean()


def _score(logits: Tensor, label: Tensor) -> Tensor:
    return -(logits * label.sign()).mean()


BCE = F.binary_cross_entropy_with_logits

MODES = {
    # Goodfellow et al. 2014, with G's non-saturating loss
    "vanilla": Mode(BCE, BCE, boundary=0.0, sure=5.0),
    # Mao et al. 2017
    "lsgan": Mode(F.mse_loss, F.mse_loss, boundary=0.5, sure=0.9),
    # Lim & Ye 2017, Miyato et al. 2018
    "hinge": Mode(_hinge, _score, boundary=0.0, sure=4.0, labels=False),
    # Gulrajani et al. 2017
    "wgan-gp": Mode(_score, _score, boundary=None, sure=None, labels=False, penalties={"gp": 10.0}),
    # Jolicoeur-Martineau 2019, paired; with both penalties R3GAN (Huang et al. 2024), whose gamma is 0.05 to 150,
    # depending on the data set. With pairs, D's terms for real and fake are equal
    "relativistic": Mode(BCE, BCE, boundary=None, sure=5.0, relative=True, penalties={"r1": 1.0, "r2": 1.0}),
}


class GANLoss(nn.Module):
    """The adversarial loss of a ``gan_mode``.

    Args:
        gan_mode: ``vanilla``, ``lsgan``, ``hinge``, ``wgan-gp`` or ``relativistic``.
        real_label: D's target for real images; below 1 for one-sided label smoothing (Salimans et al. 2016).
        fake_label: D's target for generated images.
    Raises:
        UserError: if ``gan_mode`` is unknown, or labels are set in a mode that does not use their values.
    """

    def __init__(self, gan_mode: str, real_label: float = 1.0, fake_label: float = 0.0) -> None:
        super().__init__()
        self.mode = MODES[one_of("gan_mode", gan_mode, sorted(MODES))]
        if not self.mode.labels and (real_label, fake_label) != (1.0, 0.0):
            with_labels = sorted(name for name, mode in MODES.items() if mode.labels)
            raise UserError(
                f"gan_mode={gan_mode} has no labels to smooth: use real_label=1.0 and fake_label=0.0, "
                f"or one of {with_labels}"
            )
        if not self.mode.labels:
            real_label, fake_label = 1.0, -1.0  # only the signs matter
        self.real_label = real_label
        self.fake_label = fake_label

    def forward(self, preds: Tensor, target_is_real: bool, for_generator: bool = False) -> Tensor:
        """Compute the mean loss of logits of any shape, a scalar in float32.

        Args:
            preds: logits; in relativistic mode, their differences to the logits of the paired images.
            target_is_real: whether the target is real or fake.
            for_generator: whether to compute G's loss. ``target_is_real`` must then be true; the target is 1: with D's
                smoothed label, G would lower the logits of fakes that D classifies as real.
        """
        preds = preds.float()  # compute the loss in float32 under bf16 autocast
        target = self.real_label if target_is_real else self.fake_label
        label = torch.full_like(preds, 1.0 if for_generator else target)
        distance = self.mode.generator if for_generator else self.mode.discriminator
        return distance(preds, label)

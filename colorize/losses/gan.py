"""Adversarial losses on a discriminator's logits."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from colorize.errors import UserError

MODES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "vanilla": F.binary_cross_entropy_with_logits,  # Goodfellow et al. 2014, non-saturating
    "lsgan": F.mse_loss,  # Mao et al. 2017
}


class GANLoss(nn.Module):
    """Distance of logits from the label "real" or "fake".

    Args:
        gan_mode: ``vanilla`` (binary cross-entropy) or ``lsgan`` (squared error).
        real_label: the target of real images.
        fake_label: the target of generated images.
    Raises:
        UserError: if ``gan_mode`` is unknown.
    """

    def __init__(self, gan_mode: str, real_label: float = 1.0, fake_label: float = 0.0) -> None:
        super().__init__()
        if gan_mode not in MODES:
            raise UserError(f"unknown gan_mode {gan_mode!r}; choose one of {sorted(MODES)}")
        self.distance = MODES[gan_mode]
        self.real_label = real_label
        self.fake_label = fake_label

    def forward(self, preds: Tensor, target_is_real: bool) -> Tensor:
        """Return the mean loss of logits of any shape, as a scalar in float32."""
        preds = preds.float()  # bf16 autocast must not reach the loss
        label = self.real_label if target_is_real else self.fake_label
        return self.distance(preds, torch.full_like(preds, label))

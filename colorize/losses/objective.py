"""Training objectives: what the discriminator and the generator minimise, under the report's names."""

import torch.nn.functional as F
from torch import Tensor, nn

from colorize.losses.gan import GANLoss


class GanL1(nn.Module):
    """The conditional GAN loss plus weighted L1 on chroma (Isola et al. 2017).

    Args:
        gan_mode: see `GANLoss`.
        lambda_L1: weight of the mean absolute error of normalised ab.
        real_label: target of real images.
        fake_label: target of generated images.
    Raises:
        UserError: if ``gan_mode`` is unknown.
    """

    def __init__(
        self, gan_mode: str = "vanilla", lambda_L1: float = 100.0, real_label: float = 1.0, fake_label: float = 0.0
    ) -> None:
        super().__init__()
        self.gan = GANLoss(gan_mode, real_label, fake_label)
        self.lambda_L1 = lambda_L1

    def discriminator(self, fake_logits: Tensor, real_logits: Tensor) -> dict[str, Tensor]:
        """Return scalars ``loss_D_fake``, ``loss_D_real`` and their mean ``loss_D``, which D minimises."""
        fake, real = self.gan(fake_logits, False), self.gan(real_logits, True)
        return {"loss_D_fake": fake, "loss_D_real": real, "loss_D": 0.5 * (fake + real)}

    def generator(self, fake_logits: Tensor, fake_ab: Tensor, ab: Tensor) -> dict[str, Tensor]:
        """Return scalars ``loss_G_GAN``, ``loss_G_L1`` and their sum ``loss_G``, which G minimises.

        Args:
            fake_logits: D's scores of the generated images, any shape.
            fake_ab: ``(B, 2, H, W)`` generated chroma.
            ab: ``(B, 2, H, W)`` true chroma.
        """
        gan = self.gan(fake_logits, True)
        l1 = self.lambda_L1 * F.l1_loss(fake_ab.float(), ab)
        return {"loss_G_GAN": gan, "loss_G_L1": l1, "loss_G": gan + l1}

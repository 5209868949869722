"""The report's training step, transcribed; the baseline of speed measurements."""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


class PlainLoop:
    """The report's training step in eager float32, written out: no Trainer, no levers.

    Args:
        generator: its weights are copied.
        discriminator: the same.
        device: where it trains.
    """

    def __init__(self, generator: nn.Module, discriminator: nn.Module, device: torch.device | str) -> None:
        self.generator = copy.deepcopy(generator).to(device)
        self.discriminator = copy.deepcopy(discriminator).to(device)
        self.opt_g = torch.optim.Adam(self.generator.parameters(), 2e-4, (0.5, 0.999))
        self.opt_d = torch.optim.Adam(self.discriminator.parameters(), 2e-4, (0.5, 0.999))

    def step(self, L: Tensor, ab: Tensor) -> list[Tensor]:
        """Step D, then G; return loss_D and loss_G."""
        fake_ab = self.generator(L)
        fake = self.discriminator(torch.cat([L, fake_ab.detach()], 1))
        real = self.discriminator(torch.cat([L, ab], 1))
        loss_fake = F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
        loss_real = F.binary_cross_entropy_with_logits(real, torch.ones_like(real))
        loss_d = 0.5 * (loss_fake + loss_real)
        self.opt_d.zero_grad()
        loss_d.backward()
        self.opt_d.step()
        for parameter in self.discriminator.parameters():
            parameter.requires_grad = False
        fake = self.discriminator(torch.cat([L, fake_ab], 1))
        loss_g = F.binary_cross_entropy_with_logits(fake, torch.ones_like(fake)) + 100 * F.l1_loss(fake_ab, ab)
        self.opt_g.zero_grad()
        loss_g.backward()
        self.opt_g.step()
        for parameter in self.discriminator.parameters():
            parameter.requires_grad = True
        return [loss_d.detach(), loss_g.detach()]


def flops_an_image(generator: nn.Module, discriminator: nn.Module, size: int) -> int:
    """Count what one step of both networks multiplies and adds, forwards and backwards, for one image."""
    L, ab = torch.zeros(1, 1, size, size), torch.zeros(1, 2, size, size)
    with FlopCounterMode(display=False) as counter:
        PlainLoop(generator, discriminator, "cpu").step(L, ab)
    return counter.get_total_flops()

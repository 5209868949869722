"""The algorithm: one step of D and one of G on a batch, on the same fake (report; Isola et al. 2017)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from colorize.training.augment import DIFFAUGMENT
from colorize.training.ema import update_mean
from colorize.training.game import Game, Turn
from colorize.training.ledger import Ledger
from colorize.training.optim import clip_gradient, gradient_norm


class Outcome(NamedTuple):
    """What a step leaves, on the device; later steps may overwrite it."""

    losses: Tensor  # in the order of the ledger's names
    fake_ab: Tensor  # (B, 2, H, W)
    fake_logits: Tensor | None = None  # of D's step, if it had one
    real_logits: Tensor | None = None
    grad_norm_D: Tensor | None = None  # before clipping, where someone looks
    grad_norm_G: Tensor | None = None


@dataclass(frozen=True, eq=False)
class GanStep:
    """Steps both networks on a batch, without waiting for the device.

    Args:
        generator: ``L`` to ab.
        discriminator: L and ab joined, to logits.
        mean_generator: follows the generator's weights; ``None`` for none.
        optimizers: of the generator and of the discriminator. Fused ones heed ``found_inf``; others are not stepped
            from the first loss that is no number.
        clip_norms: largest norm of the gradient, in the same order; ``None`` leaves it as it is.
        objective: as `colorize.losses.build_loss` makes it.
        game: turns, noise and augmentations.
        ledger: where losses are kept.
        noise: scalar on the device, standard deviation of the noise on what D sees.
        updates: scalar on the device, counts the updates of ``mean_generator``.
        backward: ``loss.backward()``, by whatever strategy trains.
    """

    generator: nn.Module
    discriminator: nn.Module
    mean_generator: nn.Module | None
    optimizers: tuple[Optimizer, Optimizer]
    clip_norms: tuple[float | None, float | None]
    objective: nn.Module
    game: Game
    ledger: Ledger
    noise: Tensor
    updates: Tensor
    backward: Callable[[Tensor], None]

    def __call__(self, L: Tensor, ab: Tensor, turn: Turn) -> Outcome:
        """Step.

        Args:
            L: ``(B, 1, H, W)`` in [-1, 1].
            ab: ``(B, 2, H, W)`` in [-1, 1].
            turn: which of the two steps, and how.
        """
        (opt_g, opt_d), (clip_g, clip_d) = self.optimizers, self.clip_norms
        with torch.set_grad_enabled(turn.generator):
            fake_ab = self.generator(L)
        losses: dict[str, Tensor] = {}
        fake_logits = real_logits = norm_d = norm_g = None
        if turn.discriminator:
            losses, fake_logits, real_logits = self._discriminator_losses(L, fake_ab, ab, turn.penalty)
            descended = losses["loss_D"] + losses.get("loss_D_penalty", 0)
            norm_d = self._descend(opt_d, "loss_D", descended, clip_d, turn.observed)
        if turn.generator:
            self.discriminator.requires_grad_(False)
            losses |= self._generator_losses(L, fake_ab, ab, turn.adversarial)
            norm_g = self._descend(opt_g, "loss_G", losses["loss_G"], clip_g, turn.observed)
            self.discriminator.requires_grad_(True)
            if self.mean_generator is not None:
                update_mean(self.mean_generator, self.generator, self.updates, self.game.ema_decay)
        return Outcome(self.ledger.add(losses), fake_ab.detach(), fake_logits, real_logits, norm_d, norm_g)

    def _discriminator_losses(
        self, L: Tensor, fake_ab: Tensor, ab: Tensor, penalty: bool
    ) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        fake_ab, ab = (chroma.detach().requires_grad_(penalty) for chroma in (fake_ab, ab))
        fake_logits, real_logits = self._judge(L, fake_ab), self._judge(L, ab)
        losses = self.objective.discriminator(fake_logits, real_logits)
        if penalty:
            judged = fake_logits, real_logits
            losses["loss_D_penalty"] = self.objective.penalty(lambda x: self._judge(L, x), fake_ab, ab, *judged)
        return losses, fake_logits.detach(), real_logits.detach()

    def _generator_losses(self, L: Tensor, fake_ab: Tensor, ab: Tensor, adversarial: bool) -> dict[str, Tensor]:
        if not adversarial:
            l1 = self.objective.reconstruction(fake_ab, ab)
            return l1 | {"loss_G": sum(l1.values())}
        fake_features, real_features, real_logits = [], [], None
        fake_logits = self._judge(L, fake_ab, fake_features)
        if self.objective.needs_real_in_generator:
            with torch.no_grad():
                real_logits = self._judge(L, ab, real_features)
        features = list(zip(fake_features, real_features, strict=False))
        return self.objective.generator(fake_logits, fake_ab, ab, real_logits, features)

    def _judge(self, L: Tensor, ab: Tensor, features: list[Tensor] | None = None) -> Tensor:
        ab = ab.float()
        if self.game.instance_noise:
            ab = ab + self.noise * torch.randn_like(ab)
        x = torch.cat([L, ab], dim=1)
        for name in self.game.diffaugment:
            x = DIFFAUGMENT[name](x)
        return self.discriminator(x, features)

    def _descend(
        self, optimizer: Optimizer, name: str, loss: Tensor, clip_norm: float | None, observed: bool
    ) -> Tensor | None:
        self.ledger.judge(name, loss)
        if not optimizer.defaults.get("fused") and self.ledger.diverged:
            return None
        optimizer.zero_grad()
        self.backward(loss)
        norm = gradient_norm(optimizer) if observed or clip_norm else None
        if clip_norm:
            clip_gradient(optimizer, norm, clip_norm)
        optimizer.step()
        return norm

"""The training step: one D step and one G step on a batch, with the same fake (report; Isola et al. 2017)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from colorize.losses import Objective
from colorize.networks.hints import draw_hints
from colorize.training.augment import DIFFAUGMENT
from colorize.training.ema import update_mean
from colorize.training.game import Game, Turn
from colorize.training.ledger import Ledger
from colorize.training.optim import clip_gradient, gradient_norm


class Outcome(NamedTuple):
    """Results of a step, on the device; later steps may overwrite them."""

    losses: Tensor  # in the order of the ledger's names
    fake_ab: Tensor  # (B, 2, H, W)
    fake_logits: Tensor | None = None  # from D's step, if D stepped
    real_logits: Tensor | None = None
    grad_norm_D: Tensor | None = None  # before clipping, if the batch is observed
    grad_norm_G: Tensor | None = None
    turn: Turn | None = None


class Prediction(NamedTuple):
    """The output of a generator, with its input."""

    L: Tensor  # (B, 1, H, W)
    ab: Tensor  # (B, 2, H, W)
    bins: Tensor | None = None  # logits (B, K, h, w), where the objective needs them


def predict(generator: nn.Module, objective: Objective, L: Tensor, hints: Tensor | None = None) -> Prediction:
    """Run a generator; return the outputs that the objective needs.

    Args:
        generator: see `build_generator`.
        objective: see `build_loss`.
        L: ``(B, 1, H, W)`` in [-1, 1].
        hints: ``(B, 3, H, W)``, for a generator that takes hints.
    """
    given: dict[str, Any] = {} if hints is None else {"hints": hints}
    if not objective.needs_bins:
        return Prediction(L, generator(L, **given))
    logits: list[Tensor] = []
    return Prediction(L, generator(L, **given, logits=logits), logits[0])


def losses_without_a_step(
    fake: Prediction, ab: Tensor, discriminator: nn.Module | None, objective: Objective
) -> dict[str, Tensor]:
    """Compute the losses of a prediction, scalars, without noise and augmentation on D's inputs.

    Args:
        fake: the generator's prediction.
        ab: ``(B, 2, H, W)`` true chroma.
        discriminator: ``None`` before D's first step: its losses are left out.
        objective: see `build_loss`.
    """
    fake_ab = fake.ab.float()
    given = {"fake_ab": fake_ab, "ab": ab, "L": fake.L, "bins": fake.bins}
    if discriminator is None:
        return _losses_without_d(objective, given)
    fake_features, real_features = [], []
    fake_logits = discriminator(torch.cat([fake.L, fake_ab], dim=1), fake_features)
    real_logits = discriminator(torch.cat([fake.L, ab], dim=1), real_features)
    features = list(zip(fake_features, real_features, strict=True))
    losses = objective.discriminator(fake_logits, real_logits)
    return losses | objective.generator(fake_logits, real_logits=real_logits, features=features, **given)


def _losses_without_d(objective: Objective, given: dict[str, Tensor | None]) -> dict[str, Tensor]:
    terms = objective.reconstruction(**given)
    return terms | {"loss_G": sum(terms.values())}


@dataclass(frozen=True, eq=False)
class GanStep:
    """Trains both networks on a batch, without synchronizing the device.

    Args:
        generator: maps L to ab.
        discriminator: maps L and ab, concatenated, to logits.
        mean_generator: moving average of the generator; ``None`` for no average.
        optimizers: of the generator and of the discriminator. Fused ones respect ``found_inf``; others are no longer
            stepped after the first non-finite loss.
        clip_norms: maximum gradient norm of each, in the same order; ``None`` for no clipping.
        objective: see `colorize.losses.build_loss`.
        game: turns, noise and augmentations.
        ledger: accumulates the losses.
        noise: scalar on the device, standard deviation of the noise on D's inputs.
        updates: scalar on the device, number of updates of ``mean_generator``.
        backward: ``loss.backward()``, or the training strategy's version of it.
    """

    generator: nn.Module
    discriminator: nn.Module
    mean_generator: nn.Module | None
    optimizers: tuple[Optimizer, Optimizer]
    clip_norms: tuple[float | None, float | None]
    objective: Objective
    game: Game
    ledger: Ledger
    noise: Tensor
    updates: Tensor
    backward: Callable[[Tensor], None]

    def __call__(self, L: Tensor, ab: Tensor, turn: Turn) -> Outcome:
        """Run one step.

        Args:
            L: ``(B, 1, H, W)`` in [-1, 1].
            ab: ``(B, 2, H, W)`` in [-1, 1].
            turn: which networks step, and how.
        """
        (opt_g, opt_d), (clip_g, clip_d) = self.optimizers, self.clip_norms
        hints = draw_hints(ab) if getattr(self.generator, "takes_hints", False) else None
        with torch.set_grad_enabled(turn.generator):
            fake = predict(self.generator, self.objective, L, hints)
        losses: dict[str, Tensor] = {}
        fake_logits = real_logits = norm_d = norm_g = None
        if turn.discriminator:
            losses, fake_logits, real_logits = self._discriminator_losses(L, fake.ab, ab, turn.penalty)
            loss_d = losses["loss_D"]
            if turn.penalty:
                loss_d = loss_d + self.objective.penalty_every * losses["loss_D_penalty"]
            norm_d = self._descend(opt_d, "loss_D", loss_d, clip_d, turn.observed)
        if turn.generator:
            self.discriminator.requires_grad_(False)
            losses |= self._generator_losses(fake, ab, turn.adversarial)
            norm_g = self._descend(opt_g, "loss_G", losses["loss_G"], clip_g, turn.observed)
            self.discriminator.requires_grad_(True)
            if self.mean_generator is not None:
                update_mean(self.mean_generator, self.generator, self.updates, self.game.ema_decay)
        return Outcome(self.ledger.add(losses), fake.ab.detach(), fake_logits, real_logits, norm_d, norm_g, turn)

    def _discriminator_losses(
        self, L: Tensor, fake_ab: Tensor, ab: Tensor, penalty: bool
    ) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        fake_ab, ab = (chroma.detach().requires_grad_(penalty) for chroma in (fake_ab, ab))
        fake_logits, real_logits = (self.discriminator(view) for view in self._views(L, fake_ab, ab))
        losses = self.objective.discriminator(fake_logits, real_logits)
        if penalty:

            def score(chroma: Tensor) -> Tensor:
                return self.discriminator(*self._views(L, chroma))

            losses["loss_D_penalty"] = self.objective.penalty(score, fake_ab, ab, fake_logits, real_logits)
        return losses, fake_logits.detach(), real_logits.detach()

    def _generator_losses(self, fake: Prediction, ab: Tensor, adversarial: bool) -> dict[str, Tensor]:
        given = {"fake_ab": fake.ab, "ab": ab, "L": fake.L, "bins": fake.bins}
        if not adversarial:
            return _losses_without_d(self.objective, given)
        if not self.objective.needs_real_in_generator:
            return self.objective.generator(self.discriminator(*self._views(fake.L, fake.ab)), **given)
        fake_view, real_view = self._views(fake.L, fake.ab, ab)
        fake_features, real_features = [], []
        fake_logits = self.discriminator(fake_view, fake_features)
        with torch.no_grad():
            real_logits = self.discriminator(real_view, real_features)
        features = list(zip(fake_features, real_features, strict=True))
        return self.objective.generator(fake_logits, real_logits=real_logits, features=features, **given)

    def _views(self, L: Tensor, *chroma: Tensor) -> list[Tensor]:
        """Return D's input ``(B, 3, H, W)`` for each chroma ``(B, 2, H, W)``.

        All share one draw of noise and augmentation, since losses that compare patches need the same patches.
        """
        chroma = [ab.float() for ab in chroma]
        if self.game.instance_noise:
            noise = self.noise * torch.randn_like(chroma[0])
            chroma = [ab + noise for ab in chroma]
        x = torch.cat([L, *chroma], dim=1)
        for name in self.game.diffaugment:
            x = DIFFAUGMENT[name](x)
        L, *chroma = x.split([1] + [2] * len(chroma), dim=1)
        return [torch.cat([L, ab], dim=1) for ab in chroma]

    def _descend(
        self, optimizer: Optimizer, name: str, loss: Tensor, clip_norm: float | None, observed: bool
    ) -> Tensor | None:
        self.ledger.check(name, loss)
        if not optimizer.defaults.get("fused") and self.ledger.diverged:
            return None
        optimizer.zero_grad()
        self.backward(loss)
        norm = gradient_norm(optimizer) if observed or clip_norm else None
        if clip_norm:
            clip_gradient(optimizer, norm, clip_norm)
        optimizer.step()
        return norm

"""The schedule of D and G steps, warm-ups, and the noise and augmentations on D's inputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from colorize.base.checks import at_least, one_of, within
from colorize.base.errors import UserError
from colorize.training.augment import DIFFAUGMENT


class Turn(NamedTuple):
    """What happens on one batch; equal turns compute the same operations."""

    discriminator: bool = True  # D steps
    generator: bool = True  # G steps
    adversarial: bool = True  # G's step uses D
    penalty: bool = False  # D's loss has a gradient penalty
    observed: bool = False  # gradient norms are computed


@dataclass(frozen=True)
class Game:
    """When each network steps, and what is done to D's inputs: the keys of ``conf/game/default.yaml``.

    Args:
        D_every: batches per D step.
        G_every: batches per G step, and so D steps per G step (5 in Gulrajani et al. 2017).
        warmup_G: epochs, fractions included, in which G trains on L1 alone, before D starts (two stages, as in
            Antic's NoGAN training of DeOldify, 2019).
        warmup_D: epochs after ``warmup_G`` in which D trains alone.
        instance_noise: initial standard deviation of the noise on D's chroma input, in units of normalized ab
            (Sønderby et al. 2017).
        instance_noise_until: fraction of the training, in (0, 1], over which the noise falls to 0.
        diffaugment: names of operations in ``DIFFAUGMENT``, applied to all of D's inputs (Zhao et al. 2020).
        ema_decay: decay of the moving average of G's weights (Yazıcı et al. 2019); ``None`` for no average.
    Raises:
        UserError: if a value is out of range.
    """

    D_every: int = 1
    G_every: int = 1
    warmup_G: float = 0.0
    warmup_D: float = 0.0
    instance_noise: float = 0.0
    instance_noise_until: float = 0.5
    diffaugment: Sequence[str] = ()
    ema_decay: float | None = None

    def __post_init__(self) -> None:
        for key in ("D_every", "G_every"):
            at_least(f"game.{key}", getattr(self, key), 1, whole=True)
        if self.D_every > 1 and self.G_every > 1:
            raise UserError(
                f"game.D_every={self.D_every} game.G_every={self.G_every}: one of the two must be 1, "
                "since one network must step on every batch"
            )
        for key in ("warmup_G", "warmup_D", "instance_noise"):
            at_least(f"game.{key}", getattr(self, key), 0)
        within("game.instance_noise_until", self.instance_noise_until, 0, 1, "(]")
        for name in self.diffaugment:
            one_of("game.diffaugment", name, DIFFAUGMENT)
        within("game.ema_decay", self.ema_decay, 0, 1, "()", also=(None,))

    def turn(self, batch: int, batches_per_epoch: int, penalty_every: int = 0, observed: bool = False) -> Turn:
        """Return which networks step on a batch, and how.

        Args:
            batch: index of the batch, over all epochs.
            batches_per_epoch: length of an epoch.
            penalty_every: D steps per gradient penalty; 0 for no penalty.
            observed: whether to compute gradient norms.
        """
        first = round(self.warmup_G * batches_per_epoch)
        both = first + round(self.warmup_D * batches_per_epoch)
        if batch < first:
            return Turn(discriminator=False, adversarial=False, observed=observed)
        step = (batch - first) // self.D_every  # of D
        return Turn(
            discriminator=(batch - first) % self.D_every == 0,
            generator=batch >= both and (batch - both) % self.G_every == self.G_every - 1,  # D goes first
            penalty=bool(penalty_every) and (batch - first) % self.D_every == 0 and step % penalty_every == 0,
            observed=observed,
        )

    def batches_without_G(self, batches_per_epoch: int) -> int:
        """Return the number of batches from the start of training to G's first step."""
        if round(self.warmup_G * batches_per_epoch):
            return 0
        return round(self.warmup_D * batches_per_epoch) + self.G_every - 1

    def noise(self, epoch: float, epochs: int) -> float:
        """Return the standard deviation of the noise at ``epoch``, which may be fractional, of ``epochs``."""
        return self.instance_noise * max(0.0, 1 - epoch / (self.instance_noise_until * epochs))

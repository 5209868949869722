"""Who moves when: the turns of D and G, warm-ups, and what is done to D's inputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from colorize.base.checks import at_least, one_of, within
from colorize.base.errors import UserError
from colorize.training.augment import DIFFAUGMENT


class Turn(NamedTuple):
    """What happens on one batch; steps of one kind are equal in what they compute."""

    discriminator: bool = True  # D steps
    generator: bool = True  # G steps
    adversarial: bool = True  # D has a say in G's step
    penalty: bool = False  # D's gradient is penalised
    observed: bool = False  # gradient norms are taken


@dataclass(frozen=True)
class Game:
    """The rules; keys of ``conf/game/default.yaml``.

    Args:
        D_every: batches from one step of D to the next.
        G_every: the same of G; as many steps has D for one of G (5 in Gulrajani et al. 2017).
        warmup_G: epochs, perhaps a part of one, in which G learns by L1 alone, before D starts (two stages, as in
            Antic's NoGAN training of DeOldify, 2019).
        warmup_D: epochs after these in which D learns alone.
        instance_noise: standard deviation at the start of the noise on the chroma that D sees, in units of
            normalised ab (Sønderby et al. 2017).
        instance_noise_until: share of the training in (0, 1] over which it falls to 0.
        diffaugment: names of operations in ``DIFFAUGMENT`` on all that D sees (Zhao et al. 2020).
        ema_decay: of the running mean of G's weights (Yazıcı et al. 2019); ``None`` keeps none.
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
                "the network that steps on every batch"
            )
        for key in ("warmup_G", "warmup_D", "instance_noise"):
            at_least(f"game.{key}", getattr(self, key), 0)
        within("game.instance_noise_until", self.instance_noise_until, 0, 1, "(]")
        for name in self.diffaugment:
            one_of("game.diffaugment", name, DIFFAUGMENT)
        within("game.ema_decay", self.ema_decay, 0, 1, "()", also=(None,))

    def turn(self, batch: int, batches_per_epoch: int, penalty_every: int = 0, observed: bool = False) -> Turn:
        """Return what happens on a batch.

        Args:
            batch: number of batches before it, over all epochs.
            batches_per_epoch: to count epochs.
            penalty_every: D's steps from one penalty to the next; 0 for none.
            observed: whether someone looks.
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
        """Return the number of batches, from the start of training, before the first that G steps on."""
        if round(self.warmup_G * batches_per_epoch):
            return 0
        return round(self.warmup_D * batches_per_epoch) + self.G_every - 1

    def noise(self, epoch: float, epochs: int) -> float:
        """Return the standard deviation of the noise at an epoch, or within one, of ``epochs`` in all."""
        return self.instance_noise * max(0.0, 1 - epoch / (self.instance_noise_until * epochs))

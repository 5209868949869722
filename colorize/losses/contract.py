"""The contract between an objective and training: a new loss needs these members and nothing else."""

from collections.abc import Callable, Sequence
from typing import Protocol

from torch import Tensor

LOSS_NAMES = ("loss_D_fake", "loss_D_real", "loss_D", "loss_G_GAN", "loss_G_L1", "loss_G")  # the report's
ScoreChroma = Callable[[Tensor], Tensor]  # chroma (B, 2, H, W) to D's logits, of the batch's lightness


class Objective(Protocol):
    """Losses of the discriminator and of the generator. An implementation is an ``nn.Module``.

    Every method returns scalars by name. The names are those of ``LOSS_NAMES`` and of ``extra_losses``; each is
    logged as ``train/NAME`` and ``val/NAME``.

    Attributes:
        extra_losses: names of the losses beside the report's six.
        needs_real_in_generator: whether `generator` needs D's scores or features of the real images.
        needs_bins: whether the losses need a generator with a head of bins; training refuses one without it.
        penalty_every: D steps from one `penalty` to the next; 0 if there is none. Otherwise ``extra_losses`` has
            ``loss_D_penalty``, the name that training logs it by. With ``discriminator.norm: auto`` a
            penalty takes D's normalization away, see `colorize.experiments.experiment.networks_of`.
        boundary: the logit between "fake" and "real", which D's accuracy is measured at; ``None`` if there is none.
        sure: the difference of real and fake logits beyond which D has next to nothing to learn, which the state
            "D wins" is told by; ``None`` if there is none.
    """

    extra_losses: tuple[str, ...]
    needs_real_in_generator: bool
    needs_bins: bool
    penalty_every: int
    boundary: float | None
    sure: float | None

    def discriminator(self, fake_logits: Tensor, real_logits: Tensor) -> dict[str, Tensor]:
        """Return ``loss_D_fake``, ``loss_D_real`` and ``loss_D``, which D minimizes.

        Args:
            fake_logits: ``(B, 1, H', W')``, D's scores of generated images.
            real_logits: the same of real images.
        """

    def penalty(
        self, score: ScoreChroma, fake_ab: Tensor, ab: Tensor, fake_logits: Tensor, real_logits: Tensor
    ) -> Tensor:
        """Return what D minimizes beside ``loss_D``, a scalar, which training multiplies by ``penalty_every``.

        Args:
            score: D on the batch's lightness and the given chroma.
            fake_ab: ``(B, 2, H, W)`` generated chroma that ``fake_logits`` were computed from, requiring a gradient.
            ab: the same of true chroma.
            fake_logits: ``(B, 1, H', W')``.
            real_logits: the same.
        """

    def generator(
        self,
        fake_logits: Tensor,
        fake_ab: Tensor,
        ab: Tensor,
        real_logits: Tensor | None = None,
        features: Sequence[tuple[Tensor, Tensor]] = (),
        L: Tensor | None = None,
        bins: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return ``loss_G_GAN``, the losses of `reconstruction`, and ``loss_G``, which G minimizes.

        Args:
            fake_logits: D's scores of the generated images, any shape.
            fake_ab: ``(B, 2, H, W)`` generated chroma in [-1, 1].
            ab: the same of true chroma.
            real_logits: D's scores of the real images; given if ``needs_real_in_generator``.
            features: D's features of generated and real images, a pair a layer; as above.
            L: ``(B, 1, H, W)`` in [-1, 1].
            bins: logits ``(B, K, h, w)`` of the bins; given if ``needs_bins``.
        """

    def reconstruction(
        self, fake_ab: Tensor, ab: Tensor, L: Tensor | None = None, bins: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return ``loss_G_L1`` and the other losses that need no D: all that G minimizes during its warm-up.

        Arguments as of `generator`.
        """

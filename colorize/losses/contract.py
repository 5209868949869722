"""The interface between an objective and training: a new loss needs these members and nothing else."""

from collections.abc import Callable, Sequence
from typing import Protocol

from torch import Tensor

LOSS_NAMES = ("loss_D_fake", "loss_D_real", "loss_D", "loss_G_GAN", "loss_G_L1", "loss_G")  # the report's
ScoreChroma = Callable[[Tensor], Tensor]  # maps chroma (B, 2, H, W) to D's logits, given the batch's lightness


class Objective(Protocol):
    """Losses of the discriminator and of the generator. An implementation is an ``nn.Module``.

    Every method but `penalty` returns scalars by name. The names are those of ``LOSS_NAMES`` and of ``extra_losses``;
    each is logged as ``train/NAME`` and ``val/NAME``.

    Attributes:
        extra_losses: names of the losses besides the report's six.
        needs_real_in_generator: whether `generator` needs D's logits or features of the real images.
        needs_bins: whether the losses need a generator with a ``bins`` head; training raises an error without it.
        penalty_every: D steps per `penalty`; 0 for no penalty. With a penalty ``extra_losses`` contains
            ``loss_D_penalty``, the name it is logged by. With ``discriminator.norm: auto`` a penalty removes D's
            normalization, see `colorize.experiments.experiment.networks_of`.
        boundary: decision threshold between fake and real logits, for D's accuracy; ``None`` if there is none.
        sure: difference of real and fake logits beyond which D's loss is nearly zero, the criterion of the state
            "D wins"; ``None`` if there is none.
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
            fake_logits: ``(B, 1, H', W')``, D's logits of generated images.
            real_logits: ``(B, 1, H', W')``, D's logits of real images.
        """

    def penalty(
        self, score: ScoreChroma, fake_ab: Tensor, ab: Tensor, fake_logits: Tensor, real_logits: Tensor
    ) -> Tensor:
        """Return D's penalty besides ``loss_D``, a scalar; training multiplies it by ``penalty_every``.

        Args:
            score: computes D's logits from chroma and the batch's lightness.
            fake_ab: ``(B, 2, H, W)`` generated chroma, the input of ``fake_logits``; requires a gradient.
            ab: ``(B, 2, H, W)`` true chroma, the input of ``real_logits``; requires a gradient.
            fake_logits: ``(B, 1, H', W')``.
            real_logits: ``(B, 1, H', W')``.
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
            fake_logits: D's logits of the generated images, any shape.
            fake_ab: ``(B, 2, H, W)`` generated chroma in [-1, 1].
            ab: ``(B, 2, H, W)`` true chroma in [-1, 1].
            real_logits: D's logits of the real images; given if ``needs_real_in_generator``.
            features: D's features of generated and real images, a pair per layer; given if ``needs_real_in_generator``.
            L: ``(B, 1, H, W)`` in [-1, 1].
            bins: logits ``(B, K, h, w)`` of the bins; given if ``needs_bins``.
        """

    def reconstruction(
        self, fake_ab: Tensor, ab: Tensor, L: Tensor | None = None, bins: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return ``loss_G_L1`` and the other losses that do not need D: all that G minimizes during its warm-up.

        The arguments are those of `generator`.
        """

"""Training objectives: the losses of the discriminator and of the generator, under the report's names."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from colorize.base.checks import at_least, within
from colorize.losses.bins import BinsLoss
from colorize.losses.colorfulness import colorfulness_distance
from colorize.losses.contract import ScoreChroma
from colorize.losses.gan import GANLoss
from colorize.losses.penalties import one_centred, zero_centred
from colorize.losses.perceptual import PerceptualLoss


class GanL1(nn.Module):
    """The conditional GAN loss plus weighted L1 on chroma (Isola et al. 2017), with optional stabilizers.

    It implements `colorize.losses.contract.Objective`.

    Every weight is defined as in its paper. In the papers, D minimizes the sum of its real and its fake term plus the
    penalties; ``loss_D`` is the report's mean of the two terms, so penalties are halved too. In relativistic mode the
    two terms are equal and the paper has only one of them, so penalties are not halved.

    Args:
        gan_mode: see `GANLoss`.
        lambda_L1: weight of the mean absolute error of normalized ab.
        real_label: D's target for real images.
        fake_label: D's target for generated images.
        r1: gamma of the penalty on real images (Mescheder et al. 2018); ``auto`` takes the value of ``gan_mode``.
        r2: gamma of the penalty on generated images; ``auto`` as for ``r1``.
        gp: weight of the gradient penalty (Gulrajani et al. 2017); ``auto`` as for ``r1``.
        penalty_every: D steps per penalty, which is multiplied by this number (lazy regularization, Karras et al.
            2020).
        lambda_FM: weight of feature matching: L1 between D's features of generated and real images, summed over layers
            (Wang et al. 2018, pix2pixHD, where it is 10 and there is no L1 on pixels).
        lambda_perceptual: weight of `PerceptualLoss`.
        perceptual: network of the perceptual loss.
        perceptual_weights: weights of that network.
        perceptual_stride: see `PerceptualLoss`.
        lambda_colorfulness: weight of `colorfulness_distance`.
        lambda_bins: weight of `BinsLoss`, for a generator that has bins.
        rebalance: see `BinsLoss`.
    Raises:
        UserError: if ``gan_mode`` is unknown, or a weight is out of range.
    """

    def __init__(
        self,
        gan_mode: str = "vanilla",
        lambda_L1: float = 100.0,
        real_label: float = 1.0,
        fake_label: float = 0.0,
        r1: float | str = 0.0,
        r2: float | str = 0.0,
        gp: float | str = 0.0,
        penalty_every: int = 1,
        lambda_FM: float = 0.0,
        lambda_perceptual: float = 0.0,
        perceptual: str = "tf_efficientnet_lite1",
        perceptual_weights: str = "auto",
        perceptual_stride: int = 1,
        lambda_colorfulness: float = 0.0,
        lambda_bins: float = 0.0,
        rebalance: float = 0.5,
    ) -> None:
        super().__init__()
        self.gan = GANLoss(gan_mode, real_label, fake_label)
        asked = {"r1": r1, "r2": r2, "gp": gp}
        self.penalties = {k: self.gan.mode.penalties.get(k, 0.0) if v == "auto" else v for k, v in asked.items()}
        weights = {"lambda_FM": lambda_FM, "lambda_perceptual": lambda_perceptual}
        weights |= {"lambda_colorfulness": lambda_colorfulness, "lambda_bins": lambda_bins}
        for key, weight in (self.penalties | weights).items():
            at_least(f"loss.{key}", weight, 0, also=("auto",) if key in asked else ())
        at_least("loss.penalty_every", penalty_every, 1, whole=True)
        within("loss.rebalance", rebalance, 0, 1, "(]")
        self._penalty_share = 1.0 if self.gan.mode.relative else 0.5  # see the class docstring
        self.lambda_L1 = lambda_L1
        self.lambda_FM = lambda_FM
        self.lambda_perceptual, self.lambda_colorfulness = lambda_perceptual, lambda_colorfulness
        self.lambda_bins = lambda_bins
        network = (perceptual, perceptual_weights, perceptual_stride)
        self.perceptual = PerceptualLoss(*network) if lambda_perceptual else None
        self.bins = BinsLoss(rebalance) if lambda_bins else None
        self.penalty_every = penalty_every if any(self.penalties.values()) else 0  # 0: never

    @property
    def extra_losses(self) -> tuple[str, ...]:
        """Return the names of the losses besides the report's six."""
        weights = {
            "loss_D_penalty": self.penalty_every,
            "loss_G_FM": self.lambda_FM,
            "loss_G_perceptual": self.lambda_perceptual,
            "loss_G_colorfulness": self.lambda_colorfulness,
            "loss_G_bins": self.lambda_bins,
        }
        return tuple(name for name, weight in weights.items() if weight)

    @property
    def needs_real_in_generator(self) -> bool:
        """Return whether the mode is relativistic or feature matching is on."""
        return self.gan.mode.relative or bool(self.lambda_FM)

    @property
    def needs_bins(self) -> bool:
        """Return whether the bins loss is on."""
        return bool(self.lambda_bins)

    @property
    def boundary(self) -> float | None:
        """Return the decision threshold of ``gan_mode``."""
        return self.gan.mode.boundary

    @property
    def sure(self) -> float | None:
        """Return the margin of ``gan_mode`` beyond which D wins."""
        return self.gan.mode.sure

    def discriminator(self, fake_logits: Tensor, real_logits: Tensor) -> dict[str, Tensor]:
        """Return ``loss_D_fake``, ``loss_D_real`` and their mean ``loss_D``."""
        if self.gan.mode.relative:
            fake_logits, real_logits = fake_logits - real_logits, real_logits - fake_logits
        fake, real = self.gan(fake_logits, False), self.gan(real_logits, True)
        return {"loss_D_fake": fake, "loss_D_real": real, "loss_D": 0.5 * (fake + real)}

    def penalty(
        self, score: ScoreChroma, fake_ab: Tensor, ab: Tensor, fake_logits: Tensor, real_logits: Tensor
    ) -> Tensor:
        """Return the weighted sum of R1, R2 and the gradient penalty."""
        terms = {
            "r1": lambda: zero_centred(real_logits, ab),
            "r2": lambda: zero_centred(fake_logits, fake_ab),
            "gp": lambda: one_centred(score, fake_ab, ab),
        }
        return self._penalty_share * sum(weight * terms[key]() for key, weight in self.penalties.items() if weight)

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
        """Return ``loss_G_GAN``, the losses of `reconstruction`, ``loss_G_FM`` if on, and their sum ``loss_G``."""
        if self.gan.mode.relative:
            fake_logits = fake_logits - real_logits
        terms = {"loss_G_GAN": self.gan(fake_logits, True, for_generator=True)}
        terms |= self.reconstruction(fake_ab, ab, L, bins)
        if self.lambda_FM and features:
            distances = [F.l1_loss(fake.float(), real.float()) for fake, real in features]
            terms["loss_G_FM"] = self.lambda_FM * torch.stack(distances).sum()
        return terms | {"loss_G": sum(terms.values())}

    def reconstruction(
        self, fake_ab: Tensor, ab: Tensor, L: Tensor | None = None, bins: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return ``loss_G_L1`` and those of the perceptual, colorfulness and bins losses that have a weight."""
        fake_ab = fake_ab.float()
        terms = {"loss_G_L1": self.lambda_L1 * F.l1_loss(fake_ab, ab)}
        if self.lambda_perceptual:
            terms["loss_G_perceptual"] = self.lambda_perceptual * self.perceptual(L, fake_ab, ab)
        if self.lambda_colorfulness:
            terms["loss_G_colorfulness"] = self.lambda_colorfulness * colorfulness_distance(L, fake_ab, ab)
        if self.lambda_bins:
            terms["loss_G_bins"] = self.lambda_bins * self.bins(bins, ab)
        return terms

"""Perceptual loss: distance of two images in the features of a classification network (Johnson et al. 2016)."""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from colorize.base.checks import at_least
from colorize.lab import l_ab_to_rgb
from colorize.networks.backbones import Backbone


class PerceptualLoss(nn.Module):
    """L1 between a frozen network's features of generated and real images, relative to the mean of the real ones'.

    Feature maps of all strides have equal weight. The network is not part of the state dict, to keep checkpoints small.

    Args:
        network: name of a network in timm; the packages of the extra ``encoder`` have the weights of
            ``tf_efficientnet_lite0`` and ``tf_efficientnet_lite1``.
        weights: ``auto`` or a file, see `Backbone.load_pretrained`.
        stride: side of the squares that images are average-pooled over first; cost falls with its square.
    Raises:
        UserError: if the network does not exist, it has no weights, or the stride is below 1.
    """

    def __init__(self, network: str = "tf_efficientnet_lite1", weights: str = "auto", stride: int = 1) -> None:
        super().__init__()
        self.stride = at_least("loss.perceptual_stride", stride, 1, whole=True)
        self._backbone = [_pretrained(network, weights)]  # in a list, so that it is not registered as a submodule

    def forward(self, L: Tensor, fake_ab: Tensor, ab: Tensor) -> Tensor:
        """Compute the loss, a scalar; 0 for equal images.

        Args:
            L: ``(B, 1, H, W)`` in [-1, 1].
            fake_ab: ``(B, 2, H, W)`` generated chroma.
            ab: ``(B, 2, H, W)`` true chroma.
        """
        backbone = self._backbone[0].to(L.device)
        fake = backbone(self._pooled_rgb(L, fake_ab)).values()
        with torch.no_grad():
            real = backbone(self._pooled_rgb(L, ab)).values()
        pairs = [(f.float(), r.float()) for f, r in zip(fake, real, strict=True)]
        return torch.stack([F.l1_loss(f, r) / r.abs().mean() for f, r in pairs]).mean()

    def _pooled_rgb(self, L: Tensor, ab: Tensor) -> Tensor:
        return F.avg_pool2d(l_ab_to_rgb(L, ab), self.stride)


@cache  # a run builds its objective more than once
def _pretrained(network: str, weights: str) -> Backbone:
    backbone = Backbone(network, "loss.perceptual")
    backbone.load_pretrained(weights)
    return backbone.eval().requires_grad_(False)

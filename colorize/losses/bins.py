"""Classification loss over bins of ab, from "Colorful Image Colorization" (CIC, Zhang et al. 2016)."""

import torch
import torch.distributed
import torch.nn.functional as F
from torch import Tensor, nn

from colorize.networks.bins import bin_centers, soft_targets

BATCHES = 1000  # window of the bins' mean frequencies: a plain mean up to here, then an exponential moving average


class BinsLoss(nn.Module):
    """Cross-entropy of the bins' logits with soft targets, rebalanced so that rare colors count more (CIC, eq. 2 to 4).

    Color frequencies are estimated during training; CIC takes them from ImageNet. Soft targets smooth them.

    Args:
        rebalance: weight of the uniform distribution in its mix with the color frequencies, in (0, 1]; a color's
            weight is the inverse of the mix. CIC uses 0.5; 1 turns rebalancing off.
    """

    def __init__(self, rebalance: float = 0.5) -> None:
        super().__init__()
        self.rebalance = rebalance
        centers = bin_centers()
        self.register_buffer("centers", centers.clone(), persistent=False)
        self.register_buffer("seen", torch.zeros(len(centers)))
        self.register_buffer("batches", torch.zeros(()))

    def forward(self, logits: Tensor, ab: Tensor) -> Tensor:
        """Compute the loss, a scalar.

        Args:
            logits: ``(B, K, h, w)``.
            ab: ``(B, 2, H, W)`` true chroma in [-1, 1], which is averaged over cells of side ``H / h``.
        """
        bins, shares = soft_targets(F.avg_pool2d(ab.float(), ab.shape[-1] // logits.shape[-1]), self.centers)
        if self.training:
            self._count(bins, shares)
        entropy = -(shares * logits.float().log_softmax(1).gather(1, bins)).sum(1)  # (B, h, w)
        return (self.weights()[bins[:, 0]] * entropy).mean()  # the nearest bin's weight

    def weights(self) -> Tensor:
        """Return the weight of each bin ``(K,)``; the mean weighted by color frequency is 1."""
        weights = 1 / ((1 - self.rebalance) * self.seen + self.rebalance / len(self.seen))
        return weights / (self.seen * weights).sum().clamp(min=1e-12)

    @torch.no_grad()
    def _count(self, bins: Tensor, shares: Tensor) -> None:
        now = torch.zeros_like(self.seen).index_add(0, bins.flatten(), shares.flatten()) / shares[:, 0].numel()
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(now)
            now /= torch.distributed.get_world_size()
        self.batches += 1
        self.seen.lerp_(now, 1 / self.batches.clamp(max=BATCHES))

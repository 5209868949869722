"""A running mean of a network's weights, without waiting for the device."""

import torch
from torch import Tensor, nn

WARM_UP = 10  # updates; early ones weigh more, so that the mean forgets the weights it started from


@torch.no_grad()
def update_mean(mean: nn.Module, network: nn.Module, updates: Tensor, decay: float) -> None:
    """Move ``mean`` towards ``network``: weights and running statistics by an exponential mean, counters by copying.

    Averaged weights with the last batches' statistics would be a network that nobody trained.

    Args:
        mean: a copy of the network; changed in place.
        network: what it follows.
        updates: float scalar on the device, the number of updates so far; counted up.
        decay: of the old mean, in (0, 1); at update n no more than (1 + n) / (10 + n).
    """
    share = 1 - ((1 + updates) / (WARM_UP + updates)).clamp(max=decay)
    pairs = [*zip(mean.parameters(), network.parameters(), strict=True)]
    buffers = [*zip(mean.buffers(), network.buffers(), strict=True)]
    pairs += [pair for pair in buffers if pair[0].is_floating_point()]
    old, new = (list(side) for side in zip(*pairs, strict=True))
    torch._foreach_lerp_(old, new, [share] * len(old))
    for old_count, new_count in (pair for pair in buffers if not pair[0].is_floating_point()):
        old_count.copy_(new_count)
    updates += 1

"""An exponential moving average of a network's weights, computed without synchronizing the device."""

import torch
from torch import Tensor, nn

WARM_UP = 10  # updates; early ones weigh more, so that the initial weights drop out of the mean


@torch.no_grad()
def update_mean(mean: nn.Module, network: nn.Module, updates: Tensor, decay: float) -> None:
    """Update ``mean``: average weights and running statistics exponentially, copy counters.

    Running statistics are averaged too: those of the last batches do not fit averaged weights.

    Args:
        mean: the averaged copy of the network; changed in place.
        network: the network that trains.
        updates: float scalar on the device, the number of updates so far; incremented.
        decay: weight of the old mean, in (0, 1); at update n at most (1 + n) / (10 + n).
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

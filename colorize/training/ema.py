"""A running mean of a network's weights, without waiting for the device."""

import torch
from torch import Tensor, nn

WARM_UP = 10  # updates; early ones weigh more, so that the mean forgets the weights it started from


@torch.no_grad()
def update_mean(mean: nn.Module, network: nn.Module, updates: Tensor, decay: float) -> None:
    """Move ``mean`` towards ``network``: weights by an exponential mean, running statistics by copying them.

    Args:
        mean: a copy of the network; changed in place.
        network: what it follows.
        updates: float scalar on the device, the number of updates so far; counted up.
        decay: of the old mean, in (0, 1); at update n no more than (1 + n) / (10 + n).
    """
    share = 1 - ((1 + updates) / (WARM_UP + updates)).clamp(max=decay)
    old, new = [list(module.parameters()) for module in (mean, network)]
    torch._foreach_lerp_(old, new, [share] * len(old))
    old, new = [list(module.buffers()) for module in (mean, network)]
    if old:
        torch._foreach_copy_(old, new)
    updates += 1

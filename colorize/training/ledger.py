"""The training losses, kept on the device, so that no step synchronizes it."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn

MINIMIZED = ("loss_D", "loss_G")


class Ledger(nn.Module):
    """Sums each loss over an epoch, and detects non-finite losses.

    All state is in buffers that are updated in place, so that CUDA graphs can capture it.

    Args:
        names: names of the losses.
    Attributes:
        shared: whether several processes train together; each sums its own losses, but a non-finite loss in one of
            them counts for all.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = tuple(names)
        self.shared = False
        for name in ("last", "sum", "count"):
            self.register_buffer(name, torch.zeros(len(names)), persistent=False)
        self.last.fill_(torch.nan)  # until a loss is computed; a batch without it keeps the previous value
        # Whether a loss was non-finite, D's and G's losses at that time, and the number of batches before it
        self.register_buffer("diverged", torch.zeros(()), persistent=False)
        self.register_buffer("checked", torch.zeros(len(MINIMIZED)), persistent=False)
        self.register_buffer("finite_batches", torch.zeros((), dtype=torch.int64), persistent=False)

    def check(self, name: str, loss: Tensor) -> None:
        """Set the non-finite flag if a loss is non-finite, before its backward pass; keep the first such loss."""
        loss, slot = loss.detach(), self.checked[MINIMIZED.index(name)]
        if self.shared:  # gradients are averaged over processes: if one skips a step, all must skip it
            loss = loss.clone()
            torch.distributed.all_reduce(loss)
        slot.copy_(torch.where(self.diverged == 0, loss, slot))
        self.diverged.masked_fill_(~loss.isfinite(), 1)

    def add(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Add a batch's losses; return all losses, ``(len(names),)``, NaN for those not computed yet."""
        slots = [self.names.index(name) for name in losses]
        values = [loss.detach() for loss in losses.values()]
        torch._foreach_copy_([self.last[slot] for slot in slots], values)
        torch._foreach_add_([self.sum[slot] for slot in slots], values)
        torch._foreach_add_([self.count[slot] for slot in slots], 1)
        self.finite_batches += self.diverged == 0
        return self.last.clone()

    def seen(self, name: str) -> bool:
        """Return whether a loss has been computed yet; synchronizes the device."""
        return not self.last[self.names.index(name)].isnan()

    def mean(self) -> dict[str, Tensor]:
        """Return the mean of each loss over the batches since `restart` that computed it; leave out other losses."""
        known = (self.count > 0).tolist()
        means = self.sum / self.count
        return {name: value for name, value, there in zip(self.names, means, known, strict=True) if there}

    def restart(self) -> None:
        """Reset the sums."""
        self.sum.zero_()
        self.count.zero_()

    def clear(self, batches: int) -> None:
        """Clear the non-finite flag; ``batches`` is the number of batches trained so far."""
        self.diverged.zero_()
        self.finite_batches.fill_(batches)

    def complaint(self, epoch: int) -> str | None:
        """Return which loss was non-finite and after how many batches, or ``None``; synchronizes the device."""
        if not self.diverged:
            return None
        found = zip(MINIMIZED, self.checked.tolist(), strict=True)
        name, value = next((name, value) for name, value in found if not isfinite(value))
        return f"{name} is {value} at epoch {epoch}, batch {self.finite_batches.item()}"

    def state(self) -> dict[str, Any]:
        """Return sums and last values as plain data, for a checkpoint."""
        return {name: getattr(self, name).tolist() for name in ("sum", "count", "last")}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned, unless the set of losses has changed."""
        for name, values in state.items():
            if len(values) == len(self.names):
                getattr(self, name).copy_(torch.tensor(values))

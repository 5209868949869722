"""The losses of training, kept on the device, so that no step waits for it."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn

DESCENDED = ("loss_D", "loss_G")


class Ledger(nn.Module):
    """Sums of each loss over an epoch, and whether one was no number.

    Everything is a buffer that is changed in place, so that a recorded step finds it again.

    Args:
        names: of the losses.
    Attributes:
        shared: whether several processes train together; each sums its own losses, but what is no number to one of
            them is none to all.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = tuple(names)
        self.shared = False
        for name in ("last", "sum", "count"):
            self.register_buffer(name, torch.zeros(len(names)), persistent=False)
        self.last.fill_(torch.nan)  # until a loss is computed; a batch that does not compute it keeps the value before
        # Whether a loss was no number, the two losses as they were then, and the batches before
        self.register_buffer("diverged", torch.zeros(()), persistent=False)
        self.register_buffer("judged", torch.zeros(len(DESCENDED)), persistent=False)
        self.register_buffer("sound_batches", torch.zeros((), dtype=torch.int64), persistent=False)

    def check(self, name: str, loss: Tensor) -> None:
        """Note whether a loss that is about to be descended is a number; from the first that is not, keep it."""
        loss, slot = loss.detach(), self.judged[DESCENDED.index(name)]
        if self.shared:  # else one would step with the gradients, which are shared, of another that does not
            loss = loss.clone()
            torch.distributed.all_reduce(loss)
        slot.copy_(torch.where(self.diverged == 0, loss, slot))
        self.diverged.masked_fill_(~loss.isfinite(), 1)

    def add(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Count a batch; return all losses, ``(len(names),)``, NaN where one has not been computed yet."""
        slots = [self.names.index(name) for name in losses]
        values = [loss.detach() for loss in losses.values()]
        torch._foreach_copy_([self.last[slot] for slot in slots], values)
        torch._foreach_add_([self.sum[slot] for slot in slots], values)
        torch._foreach_add_([self.count[slot] for slot in slots], 1)
        self.sound_batches += self.diverged == 0
        return self.last.clone()

    def seen(self, name: str) -> bool:
        """Say whether a loss has been computed yet; waits for the device."""
        return not self.last[self.names.index(name)].isnan()

    def mean(self) -> dict[str, Tensor]:
        """Return each loss's mean over the batches that computed it since the last `restart`; others are left out."""
        known = (self.count > 0).tolist()
        means = self.sum / self.count
        return {name: value for name, value, there in zip(self.names, means, known, strict=True) if there}

    def restart(self) -> None:
        """Forget the sums."""
        self.sum.zero_()
        self.count.zero_()

    def clear(self, batches: int) -> None:
        """Forget that anything was no number; ``batches`` have been sound."""
        self.diverged.zero_()
        self.sound_batches.fill_(batches)

    def complaint(self, epoch: int) -> str | None:
        """Say which loss was no number, and after how many batches, if one was; waits for the device."""
        if not self.diverged:
            return None
        found = zip(DESCENDED, self.judged.tolist(), strict=True)
        name, value = next((name, value) for name, value in found if not isfinite(value))
        return f"{name} is {value} at epoch {epoch}, batch {self.sound_batches.item()}"

    def state(self) -> dict[str, Any]:
        """Return sums and last values as plain data, for a checkpoint."""
        return {name: getattr(self, name).tolist() for name in ("sum", "count", "last")}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned, unless it was of other losses."""
        for name, values in state.items():
            if len(values) == len(self.names):
                getattr(self, name).copy_(torch.tensor(values))

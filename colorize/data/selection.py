"""Selection of a data set's images: a seeded order, a stable split, replacements for unusable images."""

import hashlib
from collections import deque
from collections.abc import Sequence

from colorize.base.errors import UserError
from colorize.data.sources import Candidate

VAL_SHARE = 0.2  # fraction of all images if num_val is not given: the report's 80/20


def seeded_order(candidates: Sequence[Candidate], seed: int) -> list[Candidate]:
    """Sort by SHA-256 of ``"{seed}:{id}"``: it needs no shipped list and is stable when images come or go."""
    return sorted(candidates, key=lambda c: hashlib.sha256(f"{seed}:{c.id}".encode(errors="replace")).hexdigest())


class Selection:
    """Slots of the data set and the candidates that fill them: validation first, then training.

    The first ``num_val`` images of the order are for validation and the next ``num_train`` for training, so training
    sets of growing size are nested and share one validation set. An unusable image is replaced: in training by the
    next unused one, in validation by the last unused one, so that no image moves between the two.

    Args:
        order: candidates in seeded order.
        num_train: number of training images; ``None`` for all that are not for validation; unusable images are then
            not replaced.
        num_val: number of validation images; ``None`` for a fifth of all, or if ``num_train`` is ``None`` too, of the
            usable ones (see `settle`).
    Attributes:
        too_many: whether more images are requested than there are candidates.
    """

    def __init__(self, order: Sequence[Candidate], num_train: int | None, num_val: int | None) -> None:
        self.num_val = round(len(order) * VAL_SHARE) if num_val is None else num_val
        self.num_train = len(order) - self.num_val if num_train is None else num_train
        self._fixed = num_train is not None
        self._by_share = num_train is None and num_val is None
        self.rejected: list[tuple[Candidate, str]] = []
        self._total = len(order)
        wanted = self.num_val + max(0, self.num_train)
        self.too_many = wanted > len(order) or self.num_train < 0
        self.slots: list[Candidate | None] = list(order[:wanted])
        self._spare = deque(order[wanted:])

    def is_val(self, slot: int) -> bool:
        """Return whether a slot is for validation, not for training."""
        return slot < self.num_val

    def reject(self, slot: int, reason: str) -> Candidate | None:
        """Record why a slot's image cannot be used; return its replacement, or ``None`` if the slot stays empty."""
        self.rejected.append((self.slots[slot], reason))
        replacement = None
        if self._spare:
            replacement = self._spare.pop() if self.is_val(slot) else self._spare.popleft()
        self.slots[slot] = replacement
        return replacement

    def settle(self) -> None:
        """If neither number was given, make the first fifth of the usable images the validation set.

        Otherwise a folder with five copies of every image would use two thirds of its images for validation.

        Raises:
            UserError: if fewer images are usable than requested; all have been tried, and it names their number.
        """
        if self.too_many or (self._fixed and None in self.slots):
            raise self.too_few()
        kept = [slot for slot, candidate in enumerate(self.slots) if candidate is not None]
        if self._by_share and kept:
            self.num_val = kept[round(len(kept) * VAL_SHARE)]

    def too_few(self, tried: bool = True) -> UserError:
        """Return the error that names the number of images and, if all were ``tried``, possible settings."""
        usable = self._total - len(self.rejected)
        asked = f"data.num_train={self.num_train} data.num_val={self.num_val} needs {self.num_train + self.num_val}"
        if not tried:
            return UserError(f"found {usable} images, before checking whether they are usable; {asked}")
        skipped = f" ({len(self.rejected)} skipped, the first: {self.rejected[0][1]})" if self.rejected else ""
        num_val = round(usable * VAL_SHARE)
        return UserError(
            f"found {usable} usable images{skipped}; {asked}: "
            f"set for example data.num_train={usable - num_val} data.num_val={num_val}"
        )

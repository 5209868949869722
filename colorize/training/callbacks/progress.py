"""What training shows: a bar, and a line for each epoch."""

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar

LOSSES = ("loss_D", "loss_G_GAN", "loss_G_L1")
SCORES = ("val/l1", "val/psnr")


class ProgressBar(RichProgressBar):
    """Lightning's bar, beside it the losses that were logged last; epochs are counted from 1.

    Lightning's own way to show values asks the device for them after every batch, and so waits for it.

    Args:
        refresh_rate: redraws a second.
    """

    def __init__(self, refresh_rate: int = 5) -> None:
        super().__init__(refresh_rate=refresh_rate)

    def _get_train_description(self, current_epoch: int) -> str:  # private in Lightning; a test notices if it moves
        return f"Epoch {count_of(self.trainer)} "

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Return what stands beside the bar."""
        return pl_module.shown


class EpochLine(Callback):
    """Prints a line at each epoch's end: mean losses of training, scores of validation, seconds.

    Args:
        metric: logged name that is shown beside ``val/l1`` and ``val/psnr``.
    """

    def __init__(self, metric: str = "val/l1") -> None:
        self.scores = tuple(dict.fromkeys((*SCORES, metric)))
        self._started = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._started = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print; the ledger still has the epoch's losses."""
        if not trainer.is_global_zero:
            return
        means = pl_module.ledger.mean()
        values = {name: means[name] for name in LOSSES if name in means}
        values |= {name: trainer.callback_metrics[name] for name in self.scores if name in trainer.callback_metrics}
        told = "  ".join(f"{name} {float(value):.4g}" for name, value in values.items())
        # By print, not by a logger: the bar lets that through above itself
        trainer.print(f"epoch {count_of(trainer)}  {told}  {time.perf_counter() - self._started:.0f} s")


def count_of(trainer: Trainer) -> str:
    """Return the number of the epoch, from 1, and of how many, where that is known."""
    last = trainer.max_epochs
    return f"{trainer.current_epoch + 1}" + (f"/{last}" if last is not None and last > 0 else "")

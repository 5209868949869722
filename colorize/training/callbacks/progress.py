"""Progress on the console: a bar, and a line per epoch."""

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar

LOSSES = ("loss_D", "loss_G_GAN", "loss_G_L1")
SCORES = ("val/l1", "val/psnr")


class ProgressBar(RichProgressBar):
    """Lightning's progress bar with the last logged losses; epochs are counted from 1.

    Lightning's own ``prog_bar=True`` reads the values after every batch, which synchronizes the device.

    Args:
        refresh_rate: redraws per second.
    """

    def __init__(self, refresh_rate: int = 5) -> None:
        super().__init__(refresh_rate=refresh_rate)

    def _get_train_description(self, current_epoch: int) -> str:  # private in Lightning; a test notices if it moves
        return f"Epoch {count_of(self.trainer)} "

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Return the values shown beside the bar."""
        return pl_module.shown


class EpochLine(Callback):
    """Prints a line at each epoch's end: mean training losses, validation scores, seconds.

    Args:
        metric: logged name of a score to show beside ``val/l1`` and ``val/psnr``.
    """

    def __init__(self, metric: str = "val/l1") -> None:
        self.scores = tuple(dict.fromkeys((*SCORES, metric)))
        self._started = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start timing."""
        self._started = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the line; the ledger still has the epoch's losses."""
        if not trainer.is_global_zero:
            return
        means = pl_module.ledger.mean()
        values = {name: means[name] for name in LOSSES if name in means}
        values |= {name: trainer.callback_metrics[name] for name in self.scores if name in trainer.callback_metrics}
        text = "  ".join(f"{name} {float(value):.4g}" for name, value in values.items())
        # print, not a logger: the progress bar shows printed lines above itself
        trainer.print(f"epoch {count_of(trainer)}  {text}  {time.perf_counter() - self._started:.0f} s")


def count_of(trainer: Trainer) -> str:
    """Return the number of the epoch, from 1, and the number of epochs if it is known: ``3/20``."""
    last = trainer.max_epochs
    return f"{trainer.current_epoch + 1}" + (f"/{last}" if last is not None and last > 0 else "")

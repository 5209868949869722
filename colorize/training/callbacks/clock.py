"""A time limit for training, so that runs compare at equal cost."""

import time
from collections.abc import Callable
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from colorize.base.checks import above, one_of

CLOCKS: dict[str, Callable[[], float]] = {"wall": time.monotonic, "cpu": time.process_time}  # seconds


class Clock(Callback):
    """Ends training after a number of minutes; validation time does not count.

    Training ends after the batch in which the time runs out, followed by a validation and the epoch's checkpoints. A
    resumed run continues with the next batch of the same epoch and with the remaining minutes.

    If several processes train, the clock of the first one counts.

    Args:
        max_minutes: minutes of training, over all resumptions.
        kind: ``wall``, or ``cpu``: the CPU time of all threads of the process, which does not depend on the
            machine's other load.
    Raises:
        UserError: if a value is invalid.
    """

    def __init__(self, max_minutes: float, kind: str = "wall") -> None:
        self.max_minutes = above("max_minutes", max_minutes, 0)
        self._now = CLOCKS[one_of("clock", kind, CLOCKS)]
        self._counted = 0.0  # seconds, up to the last stop
        self._since: float | None = None  # start time; None while stopped

    @property
    def seconds(self) -> float:
        """Return the training time so far."""
        return self._counted + (0.0 if self._since is None else self._now() - self._since)

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a resumed run continues from."""
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state."""
        self._counted = state_dict["seconds"]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop before the first batch if a resumed run has no time left; the checkpoint is already loaded here."""
        self._check_time(trainer, pl_module)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._since = self._now()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock."""
        self._stop()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restart the clock if training continues."""
        if trainer.state.fn == TrainerFn.FITTING:
            self._since = self._now()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Update the fraction of time used, and stop training when the time is over."""
        self._check_time(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock."""
        self._stop()

    def _stop(self) -> None:
        self._counted, self._since = self.seconds, None

    def _check_time(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # One clock for all processes, so that they have the same learning rate and stop at the same batch
        pl_module.time_used = trainer.strategy.broadcast(self.seconds / (60 * self.max_minutes))
        if pl_module.time_used >= 1:
            trainer.should_stop = True

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Mark an epoch that the time limit cut short as not done; Lightning counts it as done."""
        if trainer.should_stop and epochs_done(trainer) < trainer.current_epoch:
            for progress in checkpoint["loops"]["fit_loop"]["epoch_progress"].values():
                progress["processed"] -= 1


def epochs_done(trainer: Trainer) -> int:
    """Return the number of complete epochs; Lightning's count includes one that was cut short."""
    loop = trainer.fit_loop
    counted = loop.epoch_progress.current.processed == loop.epoch_progress.current.ready
    short = loop.epoch_loop.batch_progress.current.completed < trainer.num_training_batches
    return trainer.current_epoch - (counted and short)

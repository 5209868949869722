"""Ends a run by the clock, at equal cost whatever is trained."""

import time
from collections.abc import Callable
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from colorize.base.checks import above, one_of

CLOCKS: dict[str, Callable[[], float]] = {"wall": time.monotonic, "cpu": time.process_time}  # seconds


class Clock(Callback):
    """Ends training after some minutes of it; validation does not count.

    Training ends with the batch in which the time is over. That batch is followed by a validation and by the epoch's
    checkpoints. A resumed run goes on with the next batch of the same epoch, and with the minutes that are left.

    Where several processes train, the first one's clock counts.

    Args:
        max_minutes: of training, over all resumptions.
        kind: ``wall``, or ``cpu``: the time that all threads of the process take together on the processors, which
            does not depend on what else the machine does.
    Raises:
        UserError: if a value will not do.
    """

    def __init__(self, max_minutes: float, kind: str = "wall") -> None:
        self.max_minutes = above("max_minutes", max_minutes, 0)
        self._now = CLOCKS[one_of("clock", kind, CLOCKS)]
        self._counted = 0.0  # seconds, up to the last stop
        self._since: float | None = None  # while it runs

    @property
    def seconds(self) -> float:
        """Return how long training has taken."""
        return self._counted + (0.0 if self._since is None else self._now() - self._since)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run goes on from."""
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        self._counted = state_dict["seconds"]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Train no further batch if the time was over before; the checkpoint has been read by now."""
        self._look(trainer, pl_module)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start."""
        self._since = self._now()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop."""
        self._stop()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start again, within training."""
        if trainer.state.fn == TrainerFn.FITTING:
            self._since = self._now()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Tell how much time is over, and end the run if all is."""
        self._look(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop."""
        self._stop()

    def _stop(self) -> None:
        self._counted, self._since = self.seconds, None

    def _look(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # One clock for all processes: by their own, they would step by different learning rates and end apart
        pl_module.time_used = trainer.strategy.broadcast(self.seconds / (60 * self.max_minutes))
        if pl_module.time_used >= 1:
            trainer.should_stop = True

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Say that the epoch which the clock cut short is not over: Lightning takes every epoch it leaves for done."""
        if trainer.should_stop and epochs_done(trainer) < trainer.current_epoch:
            for progress in checkpoint["loops"]["fit_loop"]["epoch_progress"].values():
                progress["processed"] -= 1


def epochs_done(trainer: Trainer) -> int:
    """Return how many epochs were trained to their end; Lightning's count includes one that was cut short."""
    loop = trainer.fit_loop
    counted = loop.epoch_progress.current.processed == loop.epoch_progress.current.ready
    short = loop.epoch_loop.batch_progress.current.completed < trainer.num_training_batches
    return trainer.current_epoch - (counted and short)

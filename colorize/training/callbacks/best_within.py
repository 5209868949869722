"""Keep the best checkpoint by one metric while another stays within a bound: when to stop a short GAN stage."""

import logging
from math import inf
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn

from colorize.base.checks import at_least
from colorize.base.errors import UserError
from colorize.vocabulary import better_when

log = logging.getLogger(__name__)


class BestWithin(Checkpoint):
    """Keeps the checkpoint with the lowest ``monitor`` among validations whose ``bound`` has not increased by much.

    ``bound`` is compared with the last validation before G's first step: the one after an epoch of D alone
    (``game.warmup_D=1``), or one that is run before training. That validation is a candidate itself: if the stage
    improves nothing, its initial weights are kept. Validations within epochs count too.

    Args:
        dirpath: folder of the checkpoint.
        filename: name of the checkpoint, without ``.ckpt``.
        monitor: logged name of the metric to minimize.
        bound: logged name of the metric that must not increase.
        slack: relative increase of ``bound`` that is allowed.
    Raises:
        UserError: if ``slack`` is negative, or higher values of ``monitor`` are better.
    """

    def __init__(self, dirpath: str, filename: str, monitor: str, bound: str = "val/l1", slack: float = 0.03) -> None:
        at_least(f"callbacks.{filename}.slack", slack, 0)
        if better_when(monitor) == "max":
            raise UserError(f"callbacks.{filename}.monitor={monitor} is better when higher; use one to minimize")
        self.path = Path(dirpath) / f"{filename}.ckpt"
        self.monitor = monitor
        self.bound = bound
        self.slack = slack
        self.start: float | None = None  # value of ``bound`` before G's first step
        self.best = inf

    @property
    def state_key(self) -> str:
        """Return the key of the state in a checkpoint; a run may have several of these callbacks."""
        return f"{type(self).__qualname__} {self.path.stem}"

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a resumed run continues from."""
        return {"start": self.start, "best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state; a run that is resumed into another folder starts with no best checkpoint."""
        self.start = state_dict["start"]
        self.best = state_dict["best"] if self.path.exists() else inf

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Validate before training, if G steps before the first regular validation."""
        alone = pl_module.game.batches_without_G(trainer.num_training_batches)
        every = trainer.val_check_batch or inf
        due = every * (pl_module.batches // every + 1)  # batches before the next validation
        if self.start is not None or due <= alone:
            return
        if pl_module.batches > alone:
            raise UserError(
                f"callbacks.{self.path.stem}: {self.bound} was not measured before the generator's first step"
            )
        trainer.validating = True  # as Lightning's own loop does within an epoch
        trainer.fit_loop.epoch_loop.val_loop.run()
        trainer.training = True

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save a checkpoint if it is the best so far."""
        if trainer.state.fn != TrainerFn.FITTING:
            return
        measured = trainer.callback_metrics
        for name in (self.monitor, self.bound):
            if name not in measured:
                known = sorted(name for name in measured if name.startswith("val/"))
                raise UserError(
                    f"callbacks.{self.path.stem}: {name} was not measured; available are {', '.join(known)}"
                )
        value, bound = measured[self.monitor].item(), measured[self.bound].item()
        if pl_module.batches <= pl_module.game.batches_without_G(trainer.num_training_batches):
            self.start, self.best = bound, inf
        if value < self.best and bound <= self.start * (1 + self.slack):
            self.best = value
            trainer.save_checkpoint(self.path)
            log.info(
                "%s: %s %.4g, %s %.4f (%+.1f%%) after %d batches",
                self.path.name, self.monitor, value, self.bound, bound, 100 * (bound / self.start - 1),
                pl_module.batches,
            )  # fmt: skip

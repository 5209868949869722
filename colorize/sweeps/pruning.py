"""Pruning callback: reports a run's metric to the search, and ends the run if the search prunes it."""

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from colorize.base.errors import UserError
from colorize.console import program
from colorize.sweeps.jobs import PrunedError, is_search
from colorize.sweeps.study import open_trial


class Pruning(Callback):
    """Reports a metric after each epoch's validation.

    Args:
        monitor: logged name of the metric that the search minimizes.
    """

    def __init__(self, monitor: str) -> None:
        self.monitor = monitor

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Open the run's trial, whose number is the job's.

        Raises:
            UserError: if the run does not belong to a search.
        """
        hydra = HydraConfig.get()
        if hydra.mode != RunMode.MULTIRUN or not is_search(hydra.sweeper):
            raise UserError(f"callbacks.pruning works only in a search: {program('train')} -m sweep=optuna")
        self.trial = open_trial(Path(hydra.sweeper.storage), hydra.job.num)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the metric.

        Raises:
            PrunedError: if the search prunes the run.
        """
        if trainer.state.fn != TrainerFn.FITTING:
            return  # the final validation after training, over all images
        epoch, value = trainer.current_epoch + 1, trainer.callback_metrics[self.monitor].item()
        reported = self.trial.study.trials[self.trial.number].intermediate_values
        if epoch not in reported:  # a resumed run may validate an epoch again
            self.trial.report(value, epoch)
        if self.trial.should_prune():
            raise PrunedError(value)

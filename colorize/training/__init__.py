"""The training step and its parts: game, optimizers, schedules, loss ledger, LightningModule."""

from colorize.training.divergence import TrainingDivergedError
from colorize.training.module import ColorizationModule

__all__ = ["ColorizationModule", "TrainingDivergedError"]

"""The training algorithm and what goes on around it."""

from colorize.training.divergence import TrainingDivergedError
from colorize.training.module import ColorizationModule

__all__ = ["ColorizationModule", "TrainingDivergedError"]

"""The training algorithm and what goes on around it."""

from colorize.training.module import ColorizationModule, TrainingDivergedError

__all__ = ["ColorizationModule", "TrainingDivergedError"]

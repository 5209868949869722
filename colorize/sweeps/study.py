"""The Optuna study of a search: its journal file, its pruner, and ranges in Hydra's syntax."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from hydra.core.override_parser.types import IntervalSweep, Override
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import Trial

from colorize.base.errors import UserError

NAME = "search"  # name of the study in its file
PRUNERS = ("median", "hyperband", "none")

optuna.logging.set_verbosity(optuna.logging.WARNING)  # the sweep logs its own progress


@dataclass(frozen=True)
class Pruning:
    """When a search prunes runs.

    Args:
        pruner: one of `PRUNERS`.
        startup_trials: finished runs before the median pruner starts.
        min_epochs: the first epoch, counted from 1, after which a run may be pruned.
        max_epochs: length of a run.
    """

    pruner: str
    startup_trials: int
    min_epochs: int
    max_epochs: int

    def __post_init__(self) -> None:
        if self.pruner == "hyperband" and self.max_epochs < self.min_epochs:
            raise UserError(f"hyperband needs max_epochs of at least hydra.sweeper.min_epochs={self.min_epochs}")

    def build(self) -> BasePruner:
        """Build Optuna's pruner; its steps are epochs, counted from 1."""
        if self.pruner == "median":
            return MedianPruner(self.startup_trials, self.min_epochs)
        if self.pruner == "hyperband":
            return HyperbandPruner(self.min_epochs, self.max_epochs)
        return NopPruner()


def open_study(path: Path, pruner: BasePruner, direction: str = "minimize") -> optuna.Study:
    """Open the study in a file, or create it; several runs may write to it at the same time.

    Args:
        path: of the file.
        pruner: when to prune runs.
        direction: ``minimize`` or ``maximize``; ignored for an existing study.
    """
    return optuna.create_study(
        storage=_storage(path), study_name=NAME, direction=direction, load_if_exists=True, pruner=pruner
    )


def open_trial(path: Path, number: int) -> Trial:
    """Open a trial of a search for reporting, from any process."""
    storage = _storage(path)
    study = optuna.load_study(study_name=NAME, storage=storage)
    study.pruner = Pruning(**study.user_attrs["pruning"]).build()
    identity = storage.get_trial_id_from_study_id_trial_number(storage.get_study_id_from_name(NAME), number)
    return Trial(study, identity)


def _storage(path: Path) -> JournalStorage:
    return JournalStorage(JournalFileBackend(str(path)))


def distribution(override: Override) -> BaseDistribution:
    """Convert a range in Hydra's override syntax to an Optuna distribution.

    Args:
        override: ``choice(a, b)`` or ``a,b``, ``range(start, stop, step)``, ``interval(low, high)``, the last also
            within ``int(...)`` and ``tag(log, ...)``.
    Raises:
        UserError: if a tag is unknown, or the limits are not a valid range.
    """
    sweep: Any = override.value()
    text = override.input_line
    if sweep.tags - {"log"} or (sweep.tags and not isinstance(sweep, IntervalSweep)):
        raise UserError(f"{text}: the only tag is log, on an interval: tag(log, interval(1e-4, 1e-2))")
    try:
        if isinstance(sweep, IntervalSweep):
            kind = IntDistribution if isinstance(sweep.start, int) else FloatDistribution
            return kind(sweep.start, sweep.end, log="log" in sweep.tags)
        if override.is_range_sweep():
            values = sorted(override.sweep_iterator())
            if not values:
                raise ValueError("it is empty")
            kind = IntDistribution if all(isinstance(value, int) for value in values) else FloatDistribution
            return kind(values[0], values[-1], step=abs(sweep.step))
        return CategoricalDistribution(list(override.sweep_string_iterator()))
    except ValueError as error:
        raise UserError(f"{text} is not a valid range: {error}") from error

"""The study of a search: Optuna's record in a file, its pruner, and ranges in Hydra's words."""

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

NAME = "search"  # of the study in its file
PRUNERS = ("median", "hyperband", "none")

optuna.logging.set_verbosity(optuna.logging.WARNING)  # the sweep tells what happens


@dataclass(frozen=True)
class Pruning:
    """When a run is given up.

    Args:
        pruner: one of `PRUNERS`.
        startup_trials: runs that end before the median pruner judges.
        min_epochs: the first epoch, counted from 1, after which a run may be given up.
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
    """Open the study that a file keeps, or begin one; its runs may write to it at the same time.

    Args:
        path: of the file.
        pruner: when runs are given up.
        direction: ``minimize`` or ``maximize``; an existing study keeps its own.
    """
    return optuna.create_study(
        storage=_storage(path), study_name=NAME, direction=direction, load_if_exists=True, pruner=pruner
    )


def open_trial(path: Path, number: int) -> Trial:
    """Open a trial of a search, to report to it, in whatever process."""
    storage = _storage(path)
    study = optuna.load_study(study_name=NAME, storage=storage)
    study.pruner = Pruning(**study.user_attrs["pruning"]).build()
    identity = storage.get_trial_id_from_study_id_trial_number(storage.get_study_id_from_name(NAME), number)
    return Trial(study, identity)


def _storage(path: Path) -> JournalStorage:
    return JournalStorage(JournalFileBackend(str(path)))


def distribution(override: Override) -> BaseDistribution:
    """Turn a range in Hydra's words into Optuna's.

    Args:
        override: ``choice(a, b)`` or ``a,b``, ``range(start, stop, step)``, ``interval(low, high)``, the last also
            within ``int(...)`` and ``tag(log, ...)``.
    Raises:
        UserError: for a tag that is not known, or limits that make no range.
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
        raise UserError(f"{text} is no range: {error}") from error

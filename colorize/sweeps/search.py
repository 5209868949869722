"""Bayesian search: Optuna proposes runs, a launcher runs them; an interrupted search can be resumed."""

import itertools
import logging
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import TPESampler
from optuna.trial import TrialState

from colorize.base.checks import at_least, one_of
from colorize.base.errors import UserError
from colorize.base.files import replacing
from colorize.base.seeds import seed_for
from colorize.sweeps import study as studies
from colorize.sweeps.jobs import difference, read_record
from colorize.sweeps.table import read_jobs
from colorize.vocabulary import better_when

log = logging.getLogger(__name__)

# Exceptions that follow from the drawn values: they are refused, make training diverge, or need too much memory
CAUSED_BY_VALUES = {"UserError", "TrainingDivergedError", "OutOfMemoryError"}


@dataclass(frozen=True)
class Settings:
    """The options of ``conf/hydra/sweeper/optuna.yaml``."""

    n_trials: int
    n_jobs: int
    seed: int
    startup_trials: int
    pruner: str
    min_epochs: int
    storage: str

    def __post_init__(self) -> None:
        for key, least in (("n_trials", 1), ("n_jobs", 1), ("seed", 0), ("startup_trials", 0), ("min_epochs", 1)):
            at_least(f"hydra.sweeper.{key}", getattr(self, key), least, whole=True)
        one_of("hydra.sweeper.pruner", self.pruner, studies.PRUNERS)


def search(given: list[str], settings: Settings, config: DictConfig, loader: Any, launcher: Launcher) -> None:
    """Run a search until ``n_trials`` runs have ended, and write ``optimization_results.yaml``.

    Trial n runs as job n of the sweep. An interrupted trial stays open: the same command resumes it from its last
    checkpoint before it starts new trials. A failed trial has ended: it counts toward ``n_trials`` and is not rerun.

    Args:
        given: overrides; those that are ranges define the search space.
        settings: options of the search.
        config: Hydra's config of the sweep.
        loader: Hydra's config loader.
        launcher: Hydra's launcher.
    Raises:
        UserError: if a range is invalid, or the directory holds another search.
    """
    # A later one takes the place of an earlier one, so that the command line beats the config
    parsed = {o.get_key_element(): o for o in OverridesParser.create(loader).parse_overrides(given)}
    space = {key: studies.distribution(o) for key, o in parsed.items() if o.is_sweep_override()}
    fixed = [o.input_line for o in parsed.values() if not o.is_sweep_override()]
    if not space:
        raise UserError("a search needs a range, such as 'lr=tag(log, interval(1e-4, 1e-3))'")
    composed = [loader.load_sweep_config(config, [*fixed, *words]) for words in _corners(space)]
    max_epochs = composed[0].max_epochs
    pruning = studies.Pruning(settings.pruner, settings.startup_trials, settings.min_epochs, max_epochs)
    folder, storage = Path(config.hydra.sweep.dir), Path(settings.storage)
    if not storage.exists() and any(folder.glob("*/job.json")):
        raise UserError(f"{folder} holds another sweep: choose another hydra.sweep.dir")
    for needed in (folder, storage.parent):
        needed.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(f"{storage}.search", blocking=False):
            metric = composed[0].optimized_metric
            study = _open(storage, pruning, metric, [o.input_line for o in parsed.values()])
            OmegaConf.save(config, folder / "multirun.yaml")
            _Search(study, settings, space, fixed, launcher).run()
            _tell_best(study, metric, folder)
    except Timeout:
        raise UserError(f"{storage}: another process runs this search") from None


def _corners(space: dict[str, BaseDistribution]) -> Iterator[list[str]]:
    """Yield overrides that test whether the config accepts the keys and choices of a search space."""
    ends = {
        key: list(found.choices) if isinstance(found, CategoricalDistribution) else [found.low, found.high]
        for key, found in space.items()
    }
    for values in itertools.zip_longest(*ends.values()):
        yield [f"{key}={ends[key][0] if v is None else v}" for key, v in zip(ends, values, strict=True)]


def _open(storage: Path, pruning: studies.Pruning, metric: str, overrides: list[str]) -> optuna.Study:
    direction = "maximize" if better_when(metric) == "max" else "minimize"
    study = studies.open_study(storage, pruning.build(), direction)
    before = study.user_attrs.get("overrides", overrides)
    if sorted(before) != sorted(overrides):
        raise UserError(f"{storage} holds a search with {difference(before, overrides)}")
    study.set_user_attr("overrides", overrides)
    study.set_user_attr("pruning", asdict(pruning))  # for the runs
    return study


@dataclass
class _Search:
    study: optuna.Study
    settings: Settings
    space: dict[str, BaseDistribution]
    fixed: list[str]
    launcher: Launcher

    def run(self) -> None:
        """Run interrupted trials, then new ones until there are ``n_trials``."""
        for trial in self.study.get_trials(states=[TrialState.RUNNING]):
            if len(trial.params) < len(self.space):  # killed while it was drawn
                self.study.tell(trial.number, state=TrialState.FAIL)
        still_open = [trial.number for trial in self.study.get_trials(states=[TrialState.RUNNING])]
        for numbers in _runs(still_open, self.settings.n_jobs):
            self._launch(numbers)
        while (left := self.settings.n_trials - self._drawn()) > 0:
            self._launch([self._ask() for _ in range(min(left, self.settings.n_jobs))])

    def _drawn(self) -> int:
        return sum(len(trial.params) == len(self.space) for trial in self.study.trials)

    def _ask(self) -> int:
        """Draw the next trial with a seed from its number, so that a resumed search equals an uninterrupted one."""
        seed = seed_for("search", self.settings.seed, len(self.study.trials)) % 2**32  # NumPy takes 32 bits
        self.study.sampler = TPESampler(seed=seed, n_startup_trials=self.settings.startup_trials)
        return self.study.ask(self.space).number

    def _launch(self, numbers: list[int]) -> None:
        """Run trials with consecutive numbers; interrupted ones stay open."""
        trials = self.study.trials
        batch = [[*self.fixed, *(f"{k}={v}" for k, v in trials[number].params.items())] for number in numbers]
        for number, done in zip(numbers, self.launcher.launch(batch, initial_job_idx=numbers[0]), strict=True):
            record = read_record(Path(done.hydra_cfg.hydra.runtime.output_dir))
            if record["status"] in ("completed", "pruned", "failed"):
                state = _state(record)
                self.study.tell(number, record["value"] if state == TrialState.COMPLETE else None, state)


def _state(record: dict[str, Any]) -> TrialState:
    """Return the Optuna state of a run that has ended.

    Divergence is a result: it means that the values are bad. TPE ignores failed trials and continues to sample near
    them: of 50 trials in a space where a fifth diverges, next to the best values, 35 diverged if reported as failed
    and 12 if reported as pruned. So a failure caused by the values is reported as pruned, any other as failed.
    """
    if record["status"] == "completed" and record["value"] is not None:
        return TrialState.COMPLETE if math.isfinite(record["value"]) else TrialState.PRUNED
    learned = record["status"] == "pruned" or record.get("exception") in CAUSED_BY_VALUES
    return TrialState.PRUNED if learned else TrialState.FAIL


def _runs(numbers: list[int], most: int) -> Iterator[list[int]]:
    """Split increasing numbers into lists of at most ``most`` consecutive numbers."""
    for _, group in itertools.groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        run = [number for _, number in group]
        for start in range(0, len(run), most):
            yield run[start : start + most]


def _tell_best(study: optuna.Study, metric: str, folder: Path) -> None:
    """Log the best run and write it to ``optimization_results.yaml``, or log an error if no run has a value."""
    counts = dict(Counter(job["status"] for job in read_jobs(folder)))
    if not study.get_trials(states=[TrialState.COMPLETE]):
        told = ", ".join(f"{count} {status}" for status, count in counts.items())
        log.error("no run of the search ended with a %s: %s", metric, told)
        return
    best = study.best_trial
    found = {"metric": metric, "value": best.value, "job": best.number, "params": best.params, "trials": counts}
    with replacing(folder / "optimization_results.yaml") as temporary:
        OmegaConf.save(found, temporary)
    words = " ".join(f"{key}={value}" for key, value in best.params.items())
    log.info("best: job %d, %s %.4f with %s", best.number, metric, best.value, words)

"""Rows of the ranking: runs that differ only in their seed are one configuration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan

from colorize.base.errors import UserError
from colorize.report.effects import Factor, Row, Value, find_factors, parse
from colorize.report.runs import Run
from colorize.sweeps.table import interval
from colorize.vocabulary import better_when

NO_FACTOR = {
    "seed",
    "run_dir",
    "ckpt_path",
    "data.root",
    "data.store_dir",
    "logger",
    "logger.mode",
}  # a draw, and places
DEFAULT = "default"  # the level of a group, such as `experiment`, where none was chosen


@dataclass(frozen=True)
class Configuration:
    """Runs that differ only in their seed, and what they came to.

    Attributes:
        label: the overrides that tell it from the others; if it is the only one, words that say so.
        levels: these overrides, by their keys.
        runs: in the order of their directories.
        values: of the metric, of the runs that completed with one.
        mean: of the values, with the ends of its 95% interval, ``low`` and ``high``; NaN where there are too few.
    """

    label: str
    levels: Mapping[str, Value]
    runs: tuple[Run, ...]
    values: tuple[float, ...]
    mean: float
    low: float
    high: float

    def over_seeds(self, metric: str) -> tuple[float, float, float] | None:
        """Return mean and interval of another metric, or nothing if no run has it."""
        values = [run.metrics[metric] for run in self.runs if metric in run.metrics]
        return interval(values) if values else None


@dataclass(frozen=True)
class Design:
    """A sweep's plan: its factors, and the runs by which they are judged.

    Attributes:
        factors: what varies, the seed aside.
        rows: each completed run's levels and seed.
        values: of the metric, one a row.
        shared: overrides that all runs have in common, as typed.
    """

    factors: tuple[Factor, ...]
    rows: tuple[Row, ...]
    values: tuple[float, ...]
    shared: tuple[str, ...]


def lower_is_better(metric: str) -> bool:
    """Return the direction of a metric of validation.

    Raises:
        UserError: if none is known.
    """
    if not has_direction(metric):
        raise UserError(
            f"--metric {metric}: neither lower nor higher is known to be better; use one such as val/l1, "
            "val/delta_colorfulness, val/psnr or val/ssim"
        )
    return better_when(metric) == "min"


def has_direction(metric: str) -> bool:
    """Tell whether lower or higher values of a metric are known to be better."""
    return better_when(metric) is not None


def arrange(runs: Sequence[Run], metric: str) -> tuple[list[Configuration], Design]:
    """Group runs into configurations, the best first and those without a value last, and find the factors.

    Raises:
        UserError: if the metric's direction is unknown, or runs completed and none has it.
    """
    lower = lower_is_better(metric)
    known = {name for run in runs for name in run.logged if name.startswith("val/")}
    if known and metric not in known:
        raise UserError(f"--metric {metric}: no run has it; they have {', '.join(sorted(known))}")
    keys = [key for key in dict.fromkeys(key for run in runs for key in run.choices) if key not in NO_FACTOR]
    rows = [_levels(run, keys) for run in runs]
    factors = find_factors(rows, keys)
    groups: dict[tuple, list[tuple[Run, Row]]] = {}
    for run, row in zip(runs, rows, strict=True):
        groups.setdefault(tuple(row[factor.key] for factor in factors), []).append((run, row))
    configurations = [_configuration(group, factors, metric) for group in groups.values()]
    configurations.sort(key=lambda one: (not one.values, one.mean if lower else -one.mean) if one.values else (True, 0))
    scored = [(row, run.metrics[metric]) for run, row in zip(runs, rows, strict=True) if metric in run.metrics]
    shared = [override for override in runs[0].overrides if all(override in run.overrides for run in runs)]
    return configurations, Design(
        tuple(factors), tuple(row for row, _ in scored), tuple(value for _, value in scored), tuple(shared)
    )


def label_of(levels: Mapping[str, Value]) -> str:
    """Return levels as overrides, as a person types them; without any, an empty text."""
    return " ".join(f"{key}={show(value)}" for key, value in levels.items())


def show(value: Value) -> str:
    """Return a level as a person types it, such as ``2e-4``; of a number four digits."""
    if not isinstance(value, float):
        return value
    if not 0 < abs(value) < 1e-3:
        return f"{value:.4g}"
    mantissa, exponent = f"{value:.3e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def _levels(run: Run, keys: Sequence[str]) -> dict[str, Value]:
    """Return a run's value of each key, as typed, or else as its config has it, and its seed."""
    levels = {
        key: parse(run.choices[key].replace(", ", ",")) if key in run.choices else _from_config(run, key)
        for key in keys
    }
    return levels | {"seed": run.choices.get("seed", str(run.config.get("seed", "")))}


def _from_config(run: Run, key: str) -> Value:
    found = run.config
    for part in key.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    if found is None or isinstance(found, dict):
        return DEFAULT
    return parse(str(found).lower() if isinstance(found, bool) else str(found).replace(" ", ""))


def _label(levels: Mapping[str, Value], runs: int) -> str:
    """Return the levels that were chosen; keys that only other configurations set are left out."""
    if not levels:
        return "this run" if runs == 1 else "all runs"
    return label_of({key: value for key, value in levels.items() if value != DEFAULT}) or "defaults"


def _configuration(group: Sequence[tuple[Run, Row]], factors: Sequence[Factor], metric: str) -> Configuration:
    runs = tuple(run for run, _ in group)
    values = tuple(run.metrics[metric] for run in runs if metric in run.metrics)
    levels = {factor.key: group[0][1][factor.key] for factor in factors}
    return Configuration(
        _label(levels, len(runs)),
        levels,
        runs,
        values,
        *(interval(values) if values else (nan, nan, nan)),
    )

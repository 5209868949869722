"""Group runs that differ only in their seed into configurations, and rank them."""

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
}  # random seeds and locations
DEFAULT = "default"  # level of a config group, such as `experiment`, without a choice


@dataclass(frozen=True)
class Configuration:
    """Runs that differ only in their seed, and their results.

    Attributes:
        label: Overrides that distinguish it from others; ``this run`` or ``all runs`` if it is the only one.
        levels: These overrides, by key.
        runs: Runs in the order of their directories.
        values: Values of the metric of completed runs.
        mean: Mean of the values; NaN without values.
        low: Lower bound of the 95% interval of the mean; NaN with too few values.
        high: Upper bound of the interval.
    """

    label: str
    levels: Mapping[str, Value]
    runs: tuple[Run, ...]
    values: tuple[float, ...]
    mean: float
    low: float
    high: float

    def over_seeds(self, metric: str) -> tuple[float, float, float] | None:
        """Return mean and interval of another metric; None if no run has it."""
        values = [run.metrics[metric] for run in self.runs if metric in run.metrics]
        return interval(values) if values else None


@dataclass(frozen=True)
class Design:
    """Design of a sweep: its factors and scored runs.

    Attributes:
        factors: Settings that vary, except the seed.
        rows: Levels and seed of each completed run.
        values: Value of the metric for each row.
        shared: Overrides that all runs have, as typed.
    """

    factors: tuple[Factor, ...]
    rows: tuple[Row, ...]
    values: tuple[float, ...]
    shared: tuple[str, ...]


def lower_is_better(metric: str) -> bool:
    """Return whether lower values of a validation metric are better.

    Raises:
        UserError: If the direction is unknown.
    """
    if not has_direction(metric):
        raise UserError(
            f"--metric {metric}: its better direction is unknown; use a metric such as val/l1, "
            "val/delta_colorfulness, val/psnr or val/ssim"
        )
    return better_when(metric) == "min"


def has_direction(metric: str) -> bool:
    """Return whether the better direction of a metric is known."""
    return better_when(metric) is not None


def arrange(runs: Sequence[Run], metric: str) -> tuple[list[Configuration], Design]:
    """Group runs into configurations, best first and those without a value last, and find the factors.

    Raises:
        UserError: If the direction of the metric is unknown, or no scored run has it.
    """
    lower = lower_is_better(metric)
    known = {name for run in runs for name in run.logged if name.startswith("val/")}
    if known and metric not in known:
        raise UserError(f"--metric {metric}: no run has it; available metrics: {', '.join(sorted(known))}")
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
    """Format levels as typed overrides; empty without levels."""
    return " ".join(f"{key}={show(value)}" for key, value in levels.items())


def show(value: Value) -> str:
    """Format a level as typed, such as ``2e-4``; numbers have four digits."""
    if not isinstance(value, float):
        return value
    if not 0 < abs(value) < 1e-3:
        return f"{value:.4g}"
    mantissa, exponent = f"{value:.3e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def _levels(run: Run, keys: Sequence[str]) -> dict[str, Value]:
    """Return the value of each key, as typed or else from the config, and the seed of a run."""
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
    """Return the label of chosen levels, without keys that only other configurations set."""
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

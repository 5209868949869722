"""Hydra callback of a sweep: tables of its jobs and their results."""

import logging
from itertools import product
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from colorize.base.errors import UserError
from colorize.console import leave
from colorize.sweeps.jobs import is_search, refuse_other
from colorize.sweeps.table import FINISHED, over_seeds, write_seeds, write_table
from colorize.vocabulary import better_when

log = logging.getLogger(__name__)


class SweepTable(Callback):
    """Updates ``sweep.csv`` after each job; at the end, writes ``seeds.csv`` and logs failed jobs."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Exit with an error if the directory holds jobs of another sweep, before anything is overwritten."""
        try:
            for number, overrides in enumerate(_grid(config)):
                refuse_other(Path(config.hydra.sweep.dir) / str(number), overrides)
        except UserError as error:
            leave(error)

    def on_job_end(self, config: DictConfig, job_return: Any, **kwargs: Any) -> None:
        """Update the table."""
        if config.hydra.mode == RunMode.MULTIRUN:
            write_table(Path(config.hydra.sweep.dir))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Write the table again, for launchers whose jobs ran elsewhere, and log the results."""
        folder = Path(config.hydra.sweep.dir)
        jobs = write_table(folder)
        groups = over_seeds(jobs)
        if any(len(group["jobs"]) > 1 for group in groups):
            write_seeds(folder, groups)
            _print_ranking(groups, config.get("optimized_metric"))
        bad = [job for job in jobs if job["status"] not in FINISHED]
        for job in bad:
            log.error("job %s (%s) %s: %s", job["job"], " ".join(job["overrides"]), job["status"], job.get("error", ""))
        done = [job["status"] for job in jobs]
        pruned = f", {done.count('pruned')} pruned" if "pruned" in done else ""
        log.info("%d of %d jobs completed%s; %s", done.count("completed"), len(jobs), pruned, folder / "sweep.csv")
        if "completed" in done:
            log.info("next: colorize report %s", folder)
        if is_search(config.hydra.sweeper) and "completed" in done:
            bad = [job for job in bad if job["status"] != "failed"]  # for a search, failures are results
        if bad:
            raise SystemExit(1)


def _grid(config: DictConfig) -> list[list[str]]:
    """List the jobs' overrides if Hydra's basic sweeper makes them; job n runs in the directory n."""
    sweeper = config.hydra.sweeper
    if not sweeper["_target_"].endswith(".BasicSweeper"):
        return []
    given = [f"{key}={value}" for key, value in (sweeper.params or {}).items()] + list(config.hydra.overrides.task)
    try:
        parsed = OverridesParser.create(GlobalHydra.instance().config_loader()).parse_overrides(given)
        choices = {override.get_key_element(): _choices(override) for override in parsed}  # the last of a key counts
        return [list(job) for job in product(*choices.values())]
    except HydraException:  # the sweeper is about to say it
        return []


def _choices(override: Override) -> list[str]:
    key = override.get_key_element()
    if override.is_sweep_override():
        return [f"{key}={value}" for value in override.sweep_string_iterator()]
    return [f"{key}={override.get_value_element_as_str()}"]


def _print_ranking(groups: list[dict[str, Any]], metric: str | None) -> None:
    """Print the groups from the best to the worst, by the overrides in which they differ."""
    ranked = sorted(
        (group for group in groups if metric in group["metrics"]),
        key=lambda group: group["metrics"][metric][0],
        reverse=better_when(metric or "") == "max",
    )
    if not ranked:
        return
    varied = {
        key for group in ranked for key, value in group["choices"].items() if value != ranked[0]["choices"].get(key)
    }
    table = Table("overrides", "n", metric, "95% interval", title="Mean over seeds")
    for group in ranked:
        mean, low, high = group["metrics"][metric]
        choices = " ".join(f"{key}={value}" for key, value in group["choices"].items() if key in varied)
        table.add_row(choices or "all", str(len(group["jobs"])), f"{mean:.4f}", f"{low:.4f} to {high:.4f}")
    Console(markup=False).print(table)

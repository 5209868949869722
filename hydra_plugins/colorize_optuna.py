"""Where Hydra looks for sweepers: the Bayesian search of `colorize.sweeps.search`; imports nothing heavy."""

from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from colorize.base.errors import UserError, missing_extra


class OptunaSweeper(Sweeper):
    """Hydra's end of the search.

    Args:
        params: the search space, from key to range, as ``conf/hydra/sweeper/optuna.yaml`` explains.
        settings: the fields of `colorize.sweeps.search.Settings`.
    """

    def __init__(self, params: DictConfig, **settings: Any) -> None:
        self.params = params
        self.settings = settings

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Make the launcher ready; Hydra calls it before `sweep`."""
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Search, by the ranges of the config and those among the overrides of the command line.

        Raises:
            UserError: for a range that will not do, or a directory that holds another search.
        """
        try:
            from colorize.sweeps.search import Settings, search
        except ModuleNotFoundError as error:
            raise UserError(missing_extra(f"a search needs {error.name}", "sweep")) from None
        given = [f"{key}={value}" for key, value in self.params.items()] + arguments
        search(given, Settings(**self.settings), self.config, self.hydra_context.config_loader, self.launcher)

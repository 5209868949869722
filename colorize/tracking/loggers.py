"""Experiment loggers: CSV always, W&B offline or online without prompting, TensorBoard on request."""

import netrc
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from omegaconf import OmegaConf

from colorize.base.checks import one_of
from colorize.base.errors import UserError, missing_extra
from colorize.tracking.csv_log import CsvLogger

WANDB_MODES = ("auto", "online", "offline", "disabled")


class WandbIdentity(Callback):
    """Saves the W&B run id in the checkpoint, so that a resumed run continues its curves."""

    def __init__(self) -> None:
        self.run_id: str | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember the id of the logger's run."""
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                self.run_id = logger.version

    def state_dict(self) -> dict[str, Any]:
        """Return the run id."""
        return {"run_id": self.run_id}


def build_loggers(
    settings: Mapping[str, Any],
    run_dir: Path,
    config: dict[str, Any],
    name: str | None = None,
    group: str | None = None,
    resumed: tuple[Path, dict[str, Any]] | None = None,
) -> list[Logger]:
    """Build the loggers of a run.

    Args:
        settings: ``mode`` (auto, online, offline, disabled), ``project``, ``entity``, ``tensorboard``.
        run_dir: the run's directory.
        config: the whole config, flat, for W&B's columns.
        name: name of the run in W&B.
        group: group of the run in W&B, its sweep.
        resumed: path and contents of the checkpoint that the run resumes from.
    Raises:
        UserError: if the mode is unknown, or online without a key.
    """
    run_id, resume_step = None, None
    if resumed:
        path, checkpoint = resumed
        run_id = checkpoint["callbacks"].get(WandbIdentity().state_key, {}).get("run_id")
        resume_step = checkpoint["batches"]
        history = path.parent.parent / "metrics.csv"
        if history.exists() and not (run_dir / "metrics.csv").exists():
            shutil.copyfile(history, run_dir / "metrics.csv")
    loggers: list[Logger] = [CsvLogger(run_dir / "metrics.csv", resume_step)]
    mode = wandb_mode(settings["mode"])
    if mode != "disabled":
        import wandb  # imported here because it takes half a second

        # A new run looks for inputs of W&B's launch service, which is not used here: 1.6 s of imports
        wandb.Run._detect_and_apply_job_inputs = lambda run: None
        logger = WandbLogger(
            project=settings["project"],
            entity=settings["entity"],
            name=name,
            group=group,
            id=run_id,
            save_dir=run_dir,
            # Progress is shown by the bar and a line per epoch; online, W&B shows the run's URL
            settings=wandb.Settings(silent=mode == "offline", quiet=True, show_warnings=False),
            mode=mode,  # not offline=True: that sets WANDB_MODE for every later job
            log_model=mode == "online",
            config=config,
        )
        logger._wandb_init.pop("anonymous", None)  # Lightning always passes it, and W&B warns that it has no effect
        loggers.append(logger)
    if settings["tensorboard"]:
        try:
            loggers.append(TensorBoardLogger(run_dir, name="tensorboard", version=""))
        except ModuleNotFoundError:
            raise UserError(missing_extra("logger.tensorboard=true needs tensorboard", "tensorboard")) from None
    return loggers


def identity(overrides: Sequence[str]) -> tuple[str | None, str | None]:
    """Return the run's name, from its overrides or in a sweep from those that vary, and its group, from the sweep."""
    if not HydraConfig.initialized():
        return None, None
    hydra_cfg, group = HydraConfig.get(), None
    if hydra_cfg.mode == RunMode.MULTIRUN:
        sweep = Path(hydra_cfg.sweep.dir)
        group = "-".join(sweep.parts[-2:])
        overall = OmegaConf.load(sweep / "multirun.yaml").hydra
        given = OverridesParser.create().parse_overrides(list(overall.overrides.task))
        swept = {override.get_key_element() for override in given if override.is_sweep_override()}
        swept |= set(overall.sweeper.get("params") or {})
        overrides = [override for override in overrides if override.split("=")[0] in swept]
    return ",".join(overrides)[:128] or None, group  # W&B allows 128 characters


def columns(
    config: dict[str, Any], overrides: Sequence[str] = (), resumed: Sequence[dict[str, Any]] = ()
) -> dict[str, Any]:
    """Return the columns that W&B shows.

    Args:
        config: the nested config.
        overrides: the typed options, for the stabilizers and the strategy, which have no config key.
        resumed: changes at each resumption, so that a curve with two configs is recognizable.
    """
    groups = dict(override.split("=", 1) for override in overrides if "=" in override)
    chosen = {group: groups.get(group, "").strip("[]") for group in ("stabilizer", "strategy")}
    return flatten(config) | chosen | {"resumed": list(resumed)}


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested keys to ``a.b.c``, so that W&B shows flat columns."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def finish() -> None:
    """Finish the W&B run, if there is one; otherwise the next job of a sweep would continue it."""
    if "wandb" in sys.modules:
        sys.modules["wandb"].finish()


def wandb_mode(asked: str) -> str:
    """Resolve W&B's mode: ``auto`` is online only if a key is configured, so that W&B never prompts."""
    if one_of("logger.mode", asked, WANDB_MODES) == "auto":
        asked = os.environ.get("WANDB_MODE") or ("online" if _has_key() else "offline")
    elif asked == "online" and not _has_key():
        raise UserError(
            "logger.mode=online needs a W&B key: run `wandb login`, set WANDB_API_KEY, or logger.mode=offline"
        )
    return asked


def _has_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).netloc
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False

"""Validate a config before anything is downloaded, built or written; errors are one line."""

from collections.abc import Iterable, Sequence

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from lightning.pytorch import Callback
from omegaconf import DictConfig

from colorize.base.checks import at_least, true_or_false
from colorize.base.claims import short_repr
from colorize.base.errors import UserError
from colorize.console import program
from colorize.metrics.scores import SUMMARY
from colorize.tracking import loggers as tracking
from colorize.training import ColorizationModule
from colorize.training.callbacks.judged import Judged
from colorize.training.hinted import POINTS
from colorize.vocabulary import better_when

READ_BY_KEY = ("logger",)  # groups that are not handed on as a whole: a key too many would change nothing


def check(cfg: DictConfig) -> None:
    """Check the values of the main options in ``conf/train.yaml``, the logger and the trainer.

    Raises:
        UserError: if one is invalid; it names the key, its value and the valid values.
    """
    if cfg.max_epochs == -1 and cfg.max_minutes is None:
        raise UserError("max_epochs=-1 needs max_minutes=, which then ends the run; or name the epochs")
    at_least("max_epochs", cfg.max_epochs, 1, whole=True, also=(-1,))
    for key, least in (("batch_size", 1), ("image_size", 4), ("seed", 0)):
        at_least(key, cfg[key], least, whole=True)
    at_least("lambda_L1", cfg.lambda_L1, 0)
    at_least("val_images", cfg.val_images, 1, whole=True, also=(None,))
    if cfg.init_from == "":
        raise UserError("init_from= names nothing: name the trained model that this run starts from, or set it to null")
    true_or_false("logger.tensorboard", cfg.logger.tensorboard)
    tracking.wandb_mode(cfg.logger.mode)
    _check_trainer(cfg.trainer)


def _check_trainer(trainer: DictConfig) -> None:
    if trainer.accelerator == "gpu" and not (torch.cuda.is_available() or torch.backends.mps.is_available()):
        raise UserError("no GPU is here that torch can use: choose trainer=cpu or trainer=auto")
    at_least("trainer.log_every_n_steps", trainer.log_every_n_steps, 1, whole=True)
    at_least("trainer.max_steps", trainer.max_steps, 1, whole=True, also=(-1,))
    at_least("trainer.num_nodes", trainer.num_nodes, 1, whole=True)
    for key in ("val_check_interval", "limit_train_batches", "limit_val_batches"):
        at_least(f"trainer.{key}", trainer[key], 0)
    for key in ("benchmark", "enable_model_summary"):
        true_or_false(f"trainer.{key}", trainer[key])
    if isinstance(trainer.devices, int | float | bool):
        at_least("trainer.devices", trainer.devices, 1, whole=True, also=(-1,))
    several = [f"trainer.{key}={trainer[key]}" for key in ("devices", "num_nodes") if trainer[key] not in (1, "1")]
    if several and trainer.strategy == "auto" and trainer.devices != "auto":
        raise UserError(f"{' '.join(several)}: several devices train together with trainer=ddp, on GPUs of one machine")


def check_metric(asked: str, module: ColorizationModule, callbacks: Iterable[Callback]) -> None:
    """Check that ``optimized_metric`` will be measured, and that one of its directions is better.

    Raises:
        UserError: if not; it names the available metrics.
    """
    callbacks = list(callbacks)
    if any(type(callback).__module__.split(".")[0] not in ("colorize", "lightning") for callback in callbacks):
        return  # the user's own may log more
    names = [*module.ledger.names, *SUMMARY]
    if getattr(module.generator, "takes_hints", False):
        names += [f"l1_hints{points}" for points in POINTS]
    known = [f"{prefix}{name}" for prefix in module.scored_generators() for name in names]
    for callback in callbacks:
        if isinstance(callback, Judged) and callback.enabled:
            known += ["val/kid_lite2", "val/recognizability"]
    if asked in known and not better_when(asked):
        wrong = ": neither lower nor higher is known to be better"
    elif asked not in known and not str(asked).startswith("train/"):
        wrong = " is not measured"
    else:
        return
    raise UserError(f"optimized_metric={asked}{wrong}; choose one of {', '.join(filter(better_when, known))}")


def check_typed(options: Sequence[str], cfg: DictConfig) -> None:
    """Check for typed options that would have no effect: a sweep without ``-m``, or an added key that nothing reads.

    Args:
        options: the overrides of the command line.
        cfg: the composed config.
    Raises:
        UserError: if there is one; it names the option.
    """
    if not HydraConfig.initialized():
        return
    parsed = OverridesParser.create().parse_overrides(list(options))
    for option in parsed:
        if option.key_or_group == "sweep" and option.value() and HydraConfig.get().mode == RunMode.RUN:
            raise UserError(f"{option.input_line} takes -m: {program('train')} -m {' '.join(options)}")
    for option in parsed:
        group, _, rest = option.key_or_group.partition(".")
        unread = not rest or group in READ_BY_KEY or not isinstance(cfg.get(group), DictConfig)
        if option.is_add() and unread and option.get_key_element() not in HydraConfig.get().runtime.choices:
            raise UserError(f"unknown option {short_repr(option.input_line)}: nothing reads it; --help lists them all")

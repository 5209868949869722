"""Train a model from a config: seed, data, module, callbacks, loggers, trainer, fit, summary."""

import logging
import os
import platform
import resource
import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import hydra
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.types import RunMode
from lightning.pytorch import Callback, Trainer
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

import colorize
from colorize.base.errors import UserError
from colorize.base.files import write_json
from colorize.base.provenance import commit, versions
from colorize.checkpoint import read_checkpoint
from colorize.console import program
from colorize.data import ColorizationDataModule
from colorize.experiments.check_config import check, check_metric, check_typed
from colorize.experiments.resume import find_checkpoint, go_on, own_config, typed_options
from colorize.experiments.warm_start import start
from colorize.inference.pytorch import choose_device
from colorize.losses import build_loss
from colorize.tracking import loggers as tracking
from colorize.training import ColorizationModule
from colorize.training.callbacks.checkpoints import AsyncCheckpointIO, AtomicCheckpointIO, SavingTrainer
from colorize.training.callbacks.clock import Clock, epochs_done
from colorize.training.callbacks.cost import Cost
from colorize.training.callbacks.progress import EpochLine
from colorize.training.callbacks.watch import Watch
from colorize.training.engine import Engine, choose_engine, prepare_process

log = logging.getLogger(__name__)


def train(cfg: DictConfig) -> dict[str, float]:
    """Train one model and return its final metrics.

    Args:
        cfg: the composed config of ``conf/train.yaml``.
    Raises:
        UserError: if the config, the data or the checkpoint is invalid.
    """
    ckpt_path, options = find_checkpoint(cfg), typed_options()
    resumed = (ckpt_path, read_checkpoint(ckpt_path)) if ckpt_path else None
    if resumed:
        cfg, options = own_config(cfg, options, resumed[1])
    check_typed(typed_options(), cfg)
    check(cfg)
    engine = engine_of(cfg)
    run_dir = Path(cfg.run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    history = go_on(cfg, options, networks_of(cfg), *resumed) if resumed else []
    about = {"overrides": options, "resumed": history}
    started = time.perf_counter()
    with warnings.catch_warnings():
        silence_known_warnings()
        prepare_process(engine)
        data = build_data(cfg, engine)
        module = build_module(cfg, engine, about)
        start(module, cfg.init_from, resumed[1] if resumed else None)
        callbacks = build_callbacks(cfg)
        check_metric(cfg.optimized_metric, module, callbacks)
        data.prepare_data()  # before any logger starts, so that a missing data set leaves no empty run behind
        if resumed:
            data.setup()
            data.load_state_dict(resumed[1].get(type(data).__qualname__, {}))
        try:
            trainer = build_trainer(cfg, engine, callbacks, resumed, about)
            try:
                trainer.fit(module, datamodule=data, ckpt_path=ckpt_path, weights_only=True)
            except SystemExit:  # on a signal: Ctrl-C, or from a scheduler
                tell_how_to_go_on(run_dir)
                raise
            metrics = numbers(trainer.callback_metrics)
            # Validate again if the last validation did not cover all images, or training or validation ended early
            whole = data.scored_each_epoch == len(data.store.val_rows) and not trainer.should_stop
            if not whole or cfg.optimized_metric not in metrics:
                trainer.validate(module, datamodule=data, verbose=False)
                metrics |= numbers(trainer.callback_metrics)
        finally:
            tracking.finish()
    if trainer.is_global_zero:
        write_summary(run_dir / "summary.json", trainer, metrics, time.perf_counter() - started)
    log.info("%s %.4f; results in %s", cfg.optimized_metric, metrics.get(cfg.optimized_metric, float("nan")), run_dir)
    return metrics


def engine_of(cfg: DictConfig) -> Engine:
    """Choose the speed settings from the config and the hardware."""
    device = choose_device("cpu" if cfg.trainer.accelerator == "cpu" else "auto")
    one_device = cfg.trainer.devices == 1 and cfg.trainer.num_nodes == 1
    return choose_engine(
        OmegaConf.to_container(cfg.engine, resolve=True), str(cfg.trainer.precision), device, one_device
    )


def build_data(cfg: DictConfig, engine: Engine) -> ColorizationDataModule:
    """Build the data module of a config."""
    how = {"val_images": cfg.val_images, "resident": engine.resident, "compile": engine.compile}
    return ColorizationDataModule(seed=cfg.seed, **how, **OmegaConf.to_container(cfg.data, resolve=True))


def build_module(cfg: DictConfig, engine: Engine, about: dict[str, Any] | None = None) -> ColorizationModule:
    """Build the networks, losses and optimizers of a config.

    Args:
        cfg: the composed config.
        engine: see `engine_of`.
        about: additional entries of the checkpoint's provenance.
    Raises:
        UserError: if a value is invalid, or values are incompatible.
    """
    config = OmegaConf.to_container(cfg, resolve=True)
    module = ColorizationModule(
        **networks_of(cfg),
        loss=config["loss"],
        optim=config["optim"],
        game=config["game"],
        image_size=cfg.image_size,
        seed=cfg.seed,
        provenance={"config": config, "version": colorize.__version__, "commit": commit(), **(about or {})},
        engine=engine,
    )
    synchronized = cfg.trainer.get("sync_batchnorm") and module.hparams["discriminator"].get("norm") == "batch"
    if synchronized and module.objective.penalty_every:
        raise UserError(
            "discriminator.norm=batch with a penalty and trainer.sync_batchnorm=true: torch's SyncBatchNorm has no "
            "second derivative, which the penalty needs; use discriminator.norm=auto, or instance, group or none"
        )
    return module


def networks_of(cfg: DictConfig) -> dict[str, dict[str, Any]]:
    """Return the arguments of ``generator`` and ``discriminator``, with D's ``norm: auto`` replaced.

    A penalty on the gradient of each image is not valid with batch normalization in D (Gulrajani et al. 2017), so with
    any penalty D has no normalization, and otherwise the report's.
    """
    found = {key: OmegaConf.to_container(cfg[key], resolve=True) for key in ("generator", "discriminator")}
    if found["discriminator"].get("norm") == "auto":
        objective = build_loss(**OmegaConf.to_container(cfg.loss, resolve=True))
        found["discriminator"]["norm"] = "none" if objective.penalty_every else "batch"
    return found


def build_callbacks(cfg: DictConfig) -> list[Callback]:
    """Build the callbacks of a config, including the clock if there is a time limit."""
    clock = [] if cfg.max_minutes is None else [Clock(cfg.max_minutes, cfg.clock)]
    try:
        return [*hydra.utils.instantiate(cfg.callbacks).values(), *clock]
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        raise


def build_trainer(
    cfg: DictConfig,
    engine: Engine,
    callbacks: list[Callback],
    resumed: tuple[Path, dict[str, Any]] | None = None,
    about: dict[str, Any] | None = None,
) -> Trainer:
    """Build the trainer of a config, with its loggers.

    Args:
        cfg: the composed config.
        engine: see `engine_of`.
        callbacks: see `build_callbacks`.
        resumed: path and contents of the checkpoint that the run resumes from.
        about: ``overrides``, the typed options, and ``resumed``, the changes at each resumption; for W&B.
    """
    config = OmegaConf.to_container(cfg, resolve=True)
    run_dir = Path(cfg.run_dir)
    about = {"overrides": [], "resumed": []} | (about or {})
    name, group = tracking.identity(about["overrides"])
    lines = [EpochLine(cfg.optimized_metric)] if "progress" in cfg.callbacks else []
    return SavingTrainer(
        **config["trainer"] | {"precision": engine.precision},
        max_epochs=cfg.max_epochs,
        callbacks=[*callbacks, tracking.WandbIdentity(), Cost(), *lines],
        logger=tracking.build_loggers(cfg.logger, run_dir, tracking.columns(config, **about), name, group, resumed),
        plugins=[AsyncCheckpointIO() if engine.async_checkpoints else AtomicCheckpointIO()],
        default_root_dir=run_dir,
        num_sanity_val_steps=0,
        enable_progress_bar="progress" in cfg.callbacks,  # otherwise Lightning adds its own
        use_distributed_sampler=False,  # the data module's sampler is already distributed
    )


def numbers(metrics: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the logged values of training and validation as Python floats."""
    return {name: value.item() for name, value in metrics.items() if name.startswith(("train/", "val/"))}


def tell_how_to_go_on(run_dir: Path) -> None:
    """Log that a run stopped by a signal has been saved, and the command that resumes it."""
    if not HydraConfig.initialized():  # a program composed the config; it knows the run's directory
        return
    in_sweep = HydraConfig.get().mode == RunMode.MULTIRUN
    last = run_dir / "checkpoints" / "last.ckpt"
    alone = f"{program('train')} ckpt_path={last}"
    how = f"the same command, with hydra.sweep.dir={run_dir.parent}" if in_sweep else alone
    log.info("stopped and saved in %s; to resume: %s", last, how)


def silence_known_warnings() -> None:
    """Silence Lightning's tips, and its warnings about what this project does on purpose."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",  # the loader yields indices only, which needs no workers
        ".*dataloader is not resumable.*",  # the sampler resumes at the checkpoint's position
        ".*could not find the monitored key.*",  # an interrupted validation is not resumed
        ".*LeafSpec.*",  # Lightning 2.6 under torch 2.15
        ".*smaller than the logging interval.*",
        r".*module\(s\) in eval mode at the start of training.*",  # a frozen encoder's
        ".*does not have a `val_dataloader`.*",
        ".*Checkpoint directory .* exists and is not empty.*",
        ".*callbacks used to create the checkpoint need to be.*",  # a resumed run logs its changes key by key
        ".*The dirpath has changed.*",  # a run resumed into a new directory keeps its own best
    ):
        warnings.filterwarnings("ignore", message)


def write_summary(path: Path, trainer: Trainer, metrics: dict[str, float], seconds: float) -> None:
    """Write the results of a run: metrics, cost, changes at resumptions, states, engine, machine, versions, commit."""
    on_gpu = torch.cuda.is_available() and trainer.strategy.root_device.type == "cuda"
    peak = torch.cuda.max_memory_allocated() if on_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    summary = {
        "metrics": metrics,
        "seconds": round(seconds, 2),
        "images_per_s": metrics.get("train/images_per_s_epoch"),
        "peak_memory_bytes": peak,
        "cost": next(callback.summary(trainer) for callback in trainer.callbacks if isinstance(callback, Cost)),
        "resumed": trainer.lightning_module.hparams["provenance"]["resumed"],
        **next((callback.summary() for callback in trainer.callbacks if isinstance(callback, Watch)), {}),
        "engine": asdict(trainer.lightning_module.engine) | {"resident": trainer.datamodule.images_kept},
        "epochs": epochs_done(trainer),
        "batches": trainer.lightning_module.batches,
        "device": torch.cuda.get_device_name() if on_gpu else f"{platform.machine()} CPU, {os.cpu_count()} cores",
        "versions": versions(),
        "commit": commit(),
        "checkpoints": [str(found) for found in sorted(path.parent.glob("checkpoints/*.ckpt"))],
    }
    write_json(path, summary)

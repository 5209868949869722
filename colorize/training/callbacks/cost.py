"""Cost of training: parameters, floating-point operations, images, time and energy."""

import logging
import os
import time
from collections.abc import Callable
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import nn

from colorize.training.callbacks.energy import EnergyMeter, gpu_counters, package_counters
from colorize.training.callbacks.flops import flops_of_forward, flops_of_step
from colorize.training.game import Turn
from colorize.training.step import GanStep

log = logging.getLogger(__name__)

METERS = ("seconds", "cpu_seconds", "gpu_seconds", "energy_cpu_wh", "energy_gpu_wh")
READ_EVERY = 60  # seconds; energy counters wrap around after some minutes


class Cost(Callback):
    """Totals the cost of training, without validation, over all resumptions of a run.

    A total is ``None`` if it is unknown: the machine has no such counter, or a part of the run was not counted.

    Attributes:
        totals: ``images``, ``flop`` (see `flops_of_step`) and those of ``METERS``: wall-clock seconds; user and
            system time of this process and its finished children, if one process trains; seconds times number of
            GPUs; watt-hours of the CPU packages, including other programs on them, and of the GPU, if only one trains.
    """

    def __init__(self) -> None:
        self.totals: dict[str, float | None] = dict.fromkeys(("images", "flop", *METERS), 0)
        self._restored = False
        self._meters: dict[str, Callable[[], float | None]] = {}
        self._last: dict[str, float | None] | None = None  # last readings; None while stopped
        self._flop: dict[Turn, int | None] = {}  # per batch

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the meters."""
        if pl_module.batches and not self._restored:  # a checkpoint from before costs were counted
            self.totals = dict.fromkeys(self.totals)
        device, devices = trainer.strategy.root_device, trainer.world_size
        self._meters = {
            "seconds": time.perf_counter,
            "cpu_seconds": lambda: sum(os.times()[:4]) if devices == 1 else None,
            "gpu_seconds": lambda: devices * time.perf_counter() if device.type == "cuda" else None,
            "energy_cpu_wh": EnergyMeter(package_counters()).watt_hours,
            "energy_gpu_wh": EnergyMeter(gpu_counters(device) if devices == 1 else []).watt_hours,
        }
        self._last = self._readings()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the batch's images and operations."""
        turn = pl_module.outcome.turn._replace(observed=False)
        if turn not in self._flop and self.totals["flop"] is not None:
            step = getattr(pl_module.run_step, "step", pl_module.run_step)  # the eager step inside CudaGraphStep
            self._flop[turn] = _flops_or_none(flops_of_step, step, batch.L, batch.ab, turn)
        self._add("images", len(batch.L) * trainer.world_size)
        self._add("flop", self._flop.get(turn), trainer.world_size)
        if time.perf_counter() > self._last["seconds"] + READ_EVERY:
            self._read()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the meters."""
        self._stop()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restart the meters if training continues."""
        if trainer.state.fn == TrainerFn.FITTING:
            self._last = self._readings()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the meters."""
        self._stop()

    def state_dict(self) -> dict[str, Any]:
        """Return the totals so far, which are the cost of the checkpoint's weights."""
        self._read()
        return dict(self.totals)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the totals."""
        self._restored = True
        self.totals |= state_dict

    def summary(self, trainer: Trainer) -> dict[str, Any]:
        """Return the entries of ``summary.json``: parameters, GFLOP per image, and the totals."""
        module = trainer.lightning_module
        side = module.hparams["image_size"]
        forward = _flops_or_none(flops_of_forward, module.inference_generator, 1, 1, side, side)
        flop, images = self.totals["flop"], self.totals["images"]
        return {
            "parameters_G": _size(module.generator),
            "parameters_G_trained": _size(module.generator, trained=True),
            "parameters_D": _size(module.discriminator),
            "parameters_D_trained": _size(module.discriminator, trained=True),
            "gflop_forward": forward and forward / 1e9,
            "gflop_step": flop / images / 1e9 if flop and images else None,
            "images": images,
            **{name: value and round(value, 4) for name, value in self.totals.items() if name in METERS},
        }

    def _readings(self) -> dict[str, float | None]:
        return {name: meter() for name, meter in self._meters.items()}

    def _read(self) -> None:
        if self._last is None:
            return
        before, self._last = self._last, self._readings()
        for name, now in self._last.items():
            self._add(name, None if None in (before[name], now) else now - before[name])

    def _stop(self) -> None:
        self._read()
        self._last = None

    def _add(self, name: str, value: float | None, times: int = 1) -> None:
        total = self.totals[name]
        self.totals[name] = None if None in (total, value) else total + times * value


def _size(network: nn.Module, trained: bool = False) -> int:
    return sum(weights.numel() for weights in network.parameters() if weights.requires_grad or not trained)


def _flops_or_none(count: Callable[..., int], network: nn.Module | GanStep, *args: Any) -> int | None:
    """Return a number of operations; ``None`` if a network cannot run on the meta device."""
    try:
        return count(network, *args)
    except Exception as error:  # torch raises many kinds here; none should end the run
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        log.warning("floating-point operations of %s are not counted (%s)", type(network).__name__, reason)
        return None

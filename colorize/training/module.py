"""The training algorithm: one discriminator step and one generator step a batch, on the same fake."""

import time
from math import isfinite
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.optim import Optimizer

from colorize.data import Batch
from colorize.errors import UserError
from colorize.losses import build_loss
from colorize.metrics import ImageScores
from colorize.networks import build_discriminator, build_generator
from colorize.seeds import seed_for
from colorize.training.engine import CudaGraphStep, Engine
from colorize.training.optim import build_optimizer, fit_states

LOSSES = ("loss_D_fake", "loss_D_real", "loss_D", "loss_G_GAN", "loss_G_L1", "loss_G")
DESCENDED = ("loss_D", "loss_G")


class TrainingDivergedError(UserError):
    """A loss or a weight is no longer a number; nothing was stepped or saved from there on."""


class Speed:
    """Images per second since the last restart."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Start to count."""
        self.images = 0
        self.since = time.perf_counter()

    def rate(self) -> float:
        """Return images per second."""
        return self.images / (time.perf_counter() - self.since)


class ColorizationModule(LightningModule):
    """A generator and a discriminator in manual optimisation, as the report trains them.

    Every argument is plain data, so a checkpoint loads with ``weights_only=True``.

    Args:
        generator: ``name`` and arguments for `build_generator`.
        discriminator: ``name`` and arguments for `build_discriminator`.
        loss: ``name`` and arguments for `build_loss`.
        optim: ``generator`` and ``discriminator``, each ``name`` and arguments for `build_optimizer`.
        image_size: pixels a side that the networks are trained at.
        seed: of weights and dropout.
        provenance: what the run was (config, version, commit); kept in the checkpoint, not used.
        engine: how the arithmetic is done; not kept.
    Raises:
        UserError: if a name or value is unknown, or a network cannot take ``image_size``.
    """

    def __init__(
        self,
        generator: dict[str, Any],
        discriminator: dict[str, Any],
        loss: dict[str, Any],
        optim: dict[str, Any],
        image_size: int = 256,
        seed: int = 0,
        provenance: dict[str, Any] | None = None,
        engine: Engine | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False, ignore="engine")
        self.engine = engine or Engine()
        self.automatic_optimization = False
        torch.manual_seed(seed)
        self.generator = build_generator(**generator)
        self.discriminator = build_discriminator(**discriminator)
        for network in (self.generator, self.discriminator):
            network.check_size(image_size, image_size)
            if self.engine.channels_last:
                network.to(memory_format=torch.channels_last)
            if self.engine.compile:
                network.compile(dynamic=False)  # unlike torch.compile, it leaves the names of the weights alone
        self.objective = build_loss(**loss)
        self.configure_optimizers()  # a bad lr is told now, not after the data set has been fetched
        self.scores = ImageScores()
        self.batches = 0  # not trainer.global_step: it counts optimiser steps, and a run may do several a batch
        self.register_buffer("_loss_sum", torch.zeros(len(LOSSES)), persistent=False)  # over the epoch
        self._losses_summed = 0
        # Kept on the device, so that no step waits for it: whether a loss was no number, the two losses and the
        # number of batches up to then
        self.register_buffer("_diverged", torch.zeros(()), persistent=False)
        self.register_buffer("_judged", torch.zeros(len(DESCENDED)), persistent=False)
        self.register_buffer("_sound_batches", torch.zeros((), dtype=torch.int64), persistent=False)
        self._run_step = self.step
        self.shown: dict[str, float] = {}  # beside the progress bar
        self._interval, self._epoch = Speed(), Speed()
        self._epoch_rate = 0.0

    def configure_optimizers(self) -> list[Optimizer]:
        """Build one optimiser for each network."""
        settings = self.hparams["optim"]
        return [
            build_optimizer(self.generator.parameters(), **settings["generator"]),
            build_optimizer(self.discriminator.parameters(), **settings["discriminator"]),
        ]

    def on_train_start(self) -> None:
        """Let the config's lr and betas win over a resumed checkpoint's, and start the clocks."""
        for optimizer in self.trainer.optimizers:
            for group in optimizer.param_groups:
                group.update(optimizer.defaults)
            fit_states(optimizer)
            if optimizer.defaults.get("fused"):
                optimizer.found_inf = self._diverged  # while it is 1, the optimiser does nothing
        self._run_step = CudaGraphStep(self.step, self.trainer.optimizers) if self.engine.cuda_graphs else self.step
        self._diverged.zero_()
        self._sound_batches.fill_(self.batches)
        self.on_train_epoch_start()  # a run resumed within an epoch does not see its start

    def on_train_end(self) -> None:
        """Let go of the recorded step, and with it of its memory."""
        self._run_step = self.step

    def on_train_epoch_start(self) -> None:
        """Start the clocks."""
        self._interval.restart()
        self._epoch.restart()

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Step D, then G, on one batch."""
        # Dropout is a pure function of (seed, batch), so a resumed run draws what an uninterrupted one would
        seed = seed_for("dropout", self.hparams["seed"], self.global_rank, self.batches)
        # torch.manual_seed seeds every kind of device and takes 2 ms where CUDA is installed and not used
        generators = {"cuda": torch.cuda, "mps": torch.mps}
        generators.get(self.device.type, torch.default_generator).manual_seed(seed)
        losses = self._run_step(batch.L, batch.ab)
        self.batches += 1
        counter = self.optimizers()[0]  # Lightning's, around G: trainer.global_step then counts batches
        counter._on_before_step()
        counter._on_after_step()
        self._log_training(losses, len(batch.L))

    def step(self, L: Tensor, ab: Tensor) -> Tensor:
        """Step both networks, without waiting for the device (report: one fake for both, D on fake and real apart).

        Args:
            L: ``(B, 1, H, W)`` in [-1, 1].
            ab: ``(B, 2, H, W)`` in [-1, 1].
        Returns:
            The losses, in the order of ``LOSSES``.
        """
        opt_g, opt_d = self.trainer.optimizers
        fake_ab = self.generator(L)

        losses_d = self.objective.discriminator(self._judge(L, fake_ab.detach()), self._judge(L, ab))
        self._descend(opt_d, "loss_D", losses_d)

        self.discriminator.requires_grad_(False)
        losses_g = self.objective.generator(self._judge(L, fake_ab), fake_ab, ab)
        self._descend(opt_g, "loss_G", losses_g)
        self.discriminator.requires_grad_(True)

        losses = torch.stack([(losses_d | losses_g)[name].detach() for name in LOSSES])
        self._loss_sum += losses
        self._sound_batches += self._diverged == 0
        return losses

    def _judge(self, L: Tensor, ab: Tensor) -> Tensor:
        return self.discriminator(torch.cat([L, ab.float()], dim=1))

    def _descend(self, optimizer: Optimizer, name: str, losses: dict[str, Tensor]) -> None:
        loss, slot = losses[name].detach(), self._judged[DESCENDED.index(name)]
        slot.copy_(torch.where(self._diverged == 0, loss, slot))
        self._diverged.masked_fill_(~loss.isfinite(), 1)  # from now on nothing is stepped
        if not optimizer.defaults.get("fused"):
            self._check_finite()
        optimizer.zero_grad()
        self.manual_backward(losses[name])
        optimizer.step()

    def _check_finite(self) -> None:
        """Stop if a loss was no number since the last look; waits for the device."""
        if not self._diverged:
            return
        name, value = next((n, v) for n, v in zip(DESCENDED, self._judged.tolist(), strict=True) if not isfinite(v))
        raise TrainingDivergedError(
            f"{name} is {value} at epoch {self.current_epoch}, batch {self._sound_batches.item()}: nothing was stepped "
            "from there on; the last checkpoint is from before; try a lower lr"
        )

    def _log_training(self, losses: Tensor, images: int) -> None:
        self._losses_summed += 1
        for speed in (self._interval, self._epoch):
            speed.images += images * self.trainer.world_size
        if self.batches % self.trainer.log_every_n_steps:
            return
        self._check_finite()
        values = {f"train/{name}": value for name, value in zip(LOSSES, losses.tolist(), strict=True)}
        for name, optimizer in zip("GD", self.trainer.optimizers, strict=True):
            values[f"train/lr_{name}"] = float(optimizer.param_groups[0]["lr"])
        values["train/images_per_s"] = self._interval.rate()
        self._interval.restart()
        self.log_dict(values, batch_size=images)
        self.shown = {name: values[f"train/loss_{name}"] for name in "DG"}

    def on_train_epoch_end(self) -> None:
        """Log the epoch's mean of each loss, and its speed."""
        self._check_finite()
        mean = self._loss_sum / max(self._losses_summed, 1)
        values = {f"train/{name}_epoch": value for name, value in zip(LOSSES, mean, strict=True)}
        values["train/images_per_s_epoch"] = self._epoch_rate or self._epoch.rate()
        self.log_dict(values, sync_dist=True)
        self._loss_sum.zero_()
        self._losses_summed = 0

    def on_validation_epoch_start(self) -> None:
        """Take the epoch's speed before validation's time counts."""
        self._check_finite()
        self._epoch_rate = self._epoch.rate()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Compute the six losses and the image scores on held-out images."""
        fake_ab, losses = self.predict_and_judge(batch)
        self.log_dict({f"val/{name}": value for name, value in losses.items()}, batch_size=len(batch.L), sync_dist=True)
        self.scores.update(batch.L, fake_ab, batch.ab)

    def predict_and_judge(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the generated ab ``(B, 2, H, W)`` in float32 and the six losses, without a step."""
        fake_ab = self.generator(batch.L).float()
        fake_logits, real_logits = self._judge(batch.L, fake_ab), self._judge(batch.L, batch.ab)
        losses = self.objective.discriminator(fake_logits, real_logits)
        return fake_ab, losses | self.objective.generator(fake_logits, fake_ab, batch.ab)

    def on_validation_epoch_end(self) -> None:
        """Log the mean image scores."""
        scores = {f"val/{name}": value.float() for name, value in self.scores.compute().items()}
        self.log_dict(scores, sync_dist=True)  # equal on all devices already; Lightning cannot know
        self.scores.reset()

    def forward(self, L: Tensor) -> Tensor:
        """Colorize: ``(B, 1, H, W)`` to ab ``(B, 2, H, W)``, both in [-1, 1]."""
        return self.generator(L)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the counters and what validation last measured; refuse to save weights that are no numbers."""
        self._check_finite()
        if not torch.nn.utils.get_total_norm(self.parameters()).isfinite():
            name = next((name for name, value in self.named_parameters() if not value.isfinite().all()), "the weights")
            raise TrainingDivergedError(
                f"{name}: not finite at epoch {self.current_epoch}, batch {self.batches}: "
                "not saved; the last checkpoint is from before; try a lower lr"
            )
        measured = self.trainer.callback_metrics.items()
        checkpoint["metrics"] = {name: value.item() for name, value in measured if name.startswith("val/")}
        checkpoint["batches"] = self.batches
        checkpoint["losses"] = {"sum": self._loss_sum.tolist(), "batches": self._losses_summed}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the counters."""
        self.batches = checkpoint["batches"]
        self._loss_sum.copy_(torch.tensor(checkpoint["losses"]["sum"]))
        self._losses_summed = checkpoint["losses"]["batches"]

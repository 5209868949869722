"""The LightningModule: networks, optimizers, schedules, logging and checkpoint contents."""

import copy
from collections.abc import Callable
from math import isnan
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer

from colorize.base.errors import UserError
from colorize.base.seeds import seed_for
from colorize.data import Batch
from colorize.losses import build_loss
from colorize.losses.contract import LOSS_NAMES
from colorize.metrics import ImageScores
from colorize.networks import build_discriminator, build_generator
from colorize.training.divergence import TrainingDivergedError, infinite_weight
from colorize.training.engine import CudaGraphStep, Engine, check_recordable
from colorize.training.game import Game
from colorize.training.hinted import hinted_l1
from colorize.training.ledger import Ledger
from colorize.training.optim import build_optimizers, clip_norm, prepare_optimizer, set_lr
from colorize.training.schedules import position, schedule_of
from colorize.training.speed import Speed
from colorize.training.step import GanStep, Outcome, losses_without_a_step, predict

NETWORKS = ("generator", "discriminator")  # in the order of their optimizers
SCORED, RAW = "val/", "val/raw_"  # prefixes of the scores of the inference generator, and of G without averaging
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


class ColorizationModule(LightningModule):
    """Trains a generator and a discriminator with manual optimization, as in the report.

    Every argument is plain data, so that a checkpoint loads with ``weights_only=True``.

    Args:
        generator: ``name`` and arguments for `build_generator`.
        discriminator: ``name`` and arguments for `build_discriminator`.
        loss: ``name`` and arguments for `build_loss`.
        optim: arguments for `build_optimizers`, and optionally ``schedule``, see `schedule_of`.
        game: arguments for `Game`.
        image_size: side of the training images in pixels.
        seed: seed of weights and dropout.
        provenance: config, version and commit of the run; saved in the checkpoint, not used.
        engine: speed settings; not saved in the checkpoint.
    Raises:
        UserError: if a name or value is unknown, or a network cannot take ``image_size``.
    """

    def __init__(
        self,
        generator: dict[str, Any],
        discriminator: dict[str, Any],
        loss: dict[str, Any],
        optim: dict[str, Any],
        game: dict[str, Any] | None = None,
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
        self.game = Game(**game or {})
        for network in (self.generator, self.discriminator):
            network.check_size(image_size, image_size)
            if self.engine.channels_last:
                network.to(memory_format=torch.channels_last)
        self.generator_ema: nn.Module | None = None
        if self.game.ema_decay is not None:
            self.generator_ema = copy.deepcopy(self.generator).requires_grad_(False)
        if self.engine.compile:
            for network in (self.generator, self.discriminator):
                network.compile(dynamic=False)  # unlike torch.compile, it keeps the names of the weights
        self.objective = build_loss(**loss)
        if self.objective.needs_bins and not hasattr(self.generator, "centers"):
            raise UserError("loss.lambda_bins needs bins: generator=encoder_unet 'generator.heads=[ab,bins]'")
        self._schedule = schedule_of(optim.get("schedule", "constant"))
        self._clip_norms = tuple(clip_norm(optim, network) for network in NETWORKS)
        self.lr_scale = {"G": 1.0, "D": 1.0}  # factors of the learning rates; rollbacks reduce them
        check_recordable(self.engine, self.configure_optimizers())  # reports errors before a data set is fetched
        self.scores = nn.ModuleDict({prefix: ImageScores() for prefix in self.scored_generators()})
        self.time_used: float | None = None  # fraction of `max_minutes` used, in [0, 1]; None without a limit
        self._lr_share: float | None = None  # current fraction of the learning rates
        self.batches = 0  # not trainer.global_step: it counts optimizer steps, of which a batch may have several
        self.ledger = Ledger((*LOSS_NAMES, *self.objective.extra_losses))
        self.register_buffer("_noise", torch.zeros(()), persistent=False)  # standard deviation, see `Game`
        self.register_buffer("_ema_updates", torch.zeros(()), persistent=False)
        self.run_step: Callable[..., Outcome] | None = None  # while training
        self.outcome: Outcome | None = None  # of the last batch
        self.observed = False  # whether to measure the next batch
        self.recover: Callable[[str], bool] = lambda complaint: False  # rolls back; returns whether it could
        self.shown: dict[str, float] = {}  # values shown beside the progress bar
        self._interval, self._epoch = Speed(), Speed()
        self._epoch_rate = 0.0

    def configure_optimizers(self) -> list[Optimizer]:
        """Build one optimizer for each network."""
        return build_optimizers(self.generator, self.discriminator, self.hparams["optim"])

    def on_train_start(self) -> None:
        """Override a resumed checkpoint's lr and betas by the config's, and start timing."""
        self.prepare_steps()
        self.on_train_epoch_start()  # Lightning does not call it for a run resumed within an epoch

    def prepare_steps(self) -> None:
        """Prepare to train from the current weights and optimizer states, new or loaded."""
        for optimizer in self.trainer.optimizers:
            prepare_optimizer(optimizer)
            if optimizer.defaults.get("fused"):
                optimizer.found_inf = self.ledger.diverged  # while it is 1, the optimizer skips its steps
        step = GanStep(
            self.generator,
            self.discriminator,
            self.generator_ema,
            tuple(self.trainer.optimizers),
            self._clip_norms,
            self.objective,
            self.game,
            self.ledger,
            self._noise,
            self._ema_updates,
            self.manual_backward,
        )
        self.run_step = CudaGraphStep(step, self.trainer.optimizers) if self.engine.cuda_graphs else step
        self.ledger.shared = self.trainer.world_size > 1
        self.ledger.clear(self.batches)
        self._lr_share = None

    def _follow_schedules(self, batch_idx: int) -> None:
        """Set the learning rates and the noise on D's inputs for this batch."""
        an_epoch = self.trainer.num_training_batches
        epoch, epochs = position(self.current_epoch + batch_idx / an_epoch, self.trainer.max_epochs, self.time_used)
        if self.game.instance_noise:
            self._noise.fill_(self.game.noise(epoch, epochs))
        share = self._schedule(epoch, epochs)
        if share != self._lr_share:  # with CUDA graphs, setting a learning rate launches a kernel
            for scale, optimizer in zip(self.lr_scale.values(), self.trainer.optimizers, strict=True):
                set_lr(optimizer, share * scale)
            self._lr_share = share

    def on_train_end(self) -> None:
        """Release the step, and with it the memory of its CUDA graphs."""
        self.run_step = self.outcome = None

    def on_train_epoch_start(self) -> None:
        """Start timing."""
        self._interval.restart()
        self._epoch.restart()

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Train D, then G, on one batch."""
        # Dropout is a pure function of (seed, batch), so that a resumed run equals an uninterrupted one
        seed = seed_for("dropout", self.hparams["seed"], self.global_rank, self.batches)
        # torch.manual_seed seeds every kind of device and takes 2 ms where CUDA is installed and not used
        rngs = {"cuda": torch.cuda, "mps": torch.mps}
        rngs.get(self.device.type, torch.default_generator).manual_seed(seed)
        an_epoch = self.trainer.num_training_batches
        turn = self.game.turn(self.batches, an_epoch, self.objective.penalty_every, self.observed)
        self._follow_schedules(batch_idx)
        self.outcome = self.run_step(batch.L, batch.ab, turn)
        self.batches += 1
        counter = self.optimizers()[0]  # Lightning's, around G: trainer.global_step then counts batches
        counter._on_before_step()
        counter._on_after_step()
        if not all(optimizer.defaults.get("fused") for optimizer in self.trainer.optimizers):
            self.check_finite()
        self._log_training(self.outcome.losses, len(batch.L))

    def check_finite(self, weights: bool = False) -> None:
        """Roll back or stop if a loss was non-finite since the last check; synchronizes the device.

        Args:
            weights: whether to check the weights, too.
        Raises:
            TrainingDivergedError: if a loss or weight is non-finite, unless rollback recovers.
        """
        complaint = self._complaint(weights)
        if complaint and not self.recover(complaint):
            raise TrainingDivergedError(complaint)

    def _complaint(self, weights: bool) -> str | None:
        complaint = self.ledger.complaint(self.current_epoch)
        if not complaint and weights and (name := infinite_weight(self)):
            complaint = f"{name} is not finite at epoch {self.current_epoch}, batch {self.batches}"
        return complaint

    def _log_training(self, losses: Tensor, images: int) -> None:
        for speed in (self._interval, self._epoch):
            speed.images += images * self.trainer.world_size
        if self.batches % self.trainer.log_every_n_steps:
            return
        self.check_finite()
        found = zip(self.ledger.names, losses.tolist(), strict=True)
        values = {f"train/{name}": value for name, value in found if not isnan(value)}
        for name, optimizer in zip("GD", self.trainer.optimizers, strict=True):
            values[f"train/lr_{name}"] = float(optimizer.param_groups[0]["lr"])
        values["train/images_per_s"] = self._interval.rate()
        self._interval.restart()
        self.log_dict(values, batch_size=images)
        self.shown = {name: values[f"train/loss_{name}"] for name in "DG" if f"train/loss_{name}" in values}

    def on_train_epoch_end(self) -> None:
        """Log the mean of each loss and the speed over the epoch."""
        self.check_finite()
        values = {f"train/{name}_epoch": value for name, value in self.ledger.mean().items()}
        values["train/images_per_s_epoch"] = self._epoch_rate or self._epoch.rate()
        self.log_dict(values, sync_dist=True)
        self.ledger.restart()

    def on_validation_epoch_start(self) -> None:
        """Measure the epoch's training speed, without the time of validation."""
        self.check_finite(weights=True)  # so that validation scores the weights that the epoch's checkpoints hold
        self._epoch_rate = self._epoch.rate()
        for speed in (self._interval, self._epoch):
            speed.pause()

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Compute the losses and image scores on held-out images; return the ab of each of `scored_generators`."""
        fake_ab = {}
        for prefix, generator in self.scored_generators().items():
            fake_ab[prefix], losses = self.predict_and_score(batch, generator)
            losses |= hinted_l1(generator, batch, seed_for("hints", batch_idx))
            self.log_dict({f"{prefix}{k}": v for k, v in losses.items()}, batch_size=len(batch.L), sync_dist=True)
            self.scores[prefix].update(batch.L, fake_ab[prefix], batch.ab)
        return fake_ab

    @property
    def inference_generator(self) -> nn.Module:
        """Return the generator for inference: the moving average of G's weights if there is one, else G."""
        return self.generator if self.generator_ema is None else self.generator_ema

    def scored_generators(self) -> dict[str, nn.Module]:
        """Return the generators that validation scores, by prefix of logged names; `inference_generator` is first."""
        raw = {} if self.generator_ema is None else {RAW: self.generator}
        return {SCORED: self.inference_generator} | raw

    def predict_and_score(self, batch: Batch, generator: nn.Module) -> tuple[Tensor, dict[str, Tensor]]:
        """Return a generator's ab ``(B, 2, H, W)`` in float32 and its losses, D's only after D's first step."""
        discriminator = self.discriminator if self.ledger.seen("loss_D") else None
        fake = predict(generator, self.objective, batch.L)
        return fake.ab.float(), losses_without_a_step(fake, batch.ab, discriminator, self.objective)

    def on_validation_epoch_end(self) -> None:
        """Log the mean image scores, and resume timing."""
        for prefix, scores in self.scores.items():
            values = {f"{prefix}{name}": value.float() for name, value in scores.compute().items()}
            self.log_dict(values, sync_dist=True)  # already equal on all devices; silences Lightning's warning
            scores.reset()
        for speed in (self._interval, self._epoch):
            speed.go_on()  # validation may run in the middle of an epoch

    def forward(self, L: Tensor) -> Tensor:
        """Colorize: ``(B, 1, H, W)`` to ab ``(B, 2, H, W)``, both in [-1, 1]."""
        return self.inference_generator(L)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the counters and the last validation metrics; raise if a loss or weight is non-finite."""
        if complaint := self._complaint(weights=True):  # no rollback: part of the state is already collected
            raise TrainingDivergedError(complaint)
        measured = self.trainer.callback_metrics.items()
        checkpoint["metrics"] = {name: value.item() for name, value in measured if name.startswith("val/")}
        checkpoint["batches"] = self.batches
        checkpoint["losses"] = self.ledger.state()
        checkpoint["lr_scale"] = dict(self.lr_scale)
        checkpoint["ema_updates"] = self._ema_updates.item()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the counters; drop D's running batch-norm statistics, which older checkpoints have."""
        weights = checkpoint["state_dict"]
        for key in [key for key in weights if key.startswith("discriminator.") and key.endswith(STATISTICS)]:
            del weights[key]
        self.batches = checkpoint["batches"]
        self.lr_scale |= checkpoint.get("lr_scale", {})
        self.load_means(checkpoint)

    def load_means(self, checkpoint: dict[str, Any]) -> None:
        """Restore the sums of losses and the number of updates of the averaged generator."""
        self.ledger.load(checkpoint["losses"])
        self._ema_updates.fill_(checkpoint.get("ema_updates", 0.0))

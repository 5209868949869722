"""Validation scores by an independent judge network, so that checkpoints can be selected by them."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from colorize.base.errors import UserError
from colorize.data import Batch
from colorize.metrics.judge import NETWORK, Judge, JudgeScores, judge_missing, own_encoder
from colorize.training.module import SCORED


class Judged(Callback):
    """Logs ``val/kid_lite2`` and ``val/recognizability`` of the inference generator at each validation.

    The judge's results on true images are cached, so that they are computed once per run.

    Args:
        enabled: whether to do anything.
    """

    def __init__(self, enabled: bool = False) -> None:
        self.enabled = enabled
        self._scores: JudgeScores | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Build the judge.

        Raises:
            UserError: if the judge is not installed or is the generator's encoder, or there are several processes.
        """
        if not self.enabled or self._scores:
            return
        if own_encoder(pl_module.hparams["generator"]):
            raise UserError(
                f"callbacks.judge.enabled=true: the judge is generator.encoder={NETWORK}; use another encoder"
            )
        if trainer.world_size > 1:
            raise UserError("callbacks.judge.enabled=true works in one process: set trainer.devices=1")
        if missing := judge_missing():
            raise UserError(f"callbacks.judge.enabled=true: {missing}")
        self._scores = JudgeScores(Judge())

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reset the scores."""
        if self._scores:
            self._scores.judge.to(pl_module.device)
            self._scores.restart()

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: dict[str, Tensor], batch: Batch, *_: Any
    ) -> None:
        """Add a batch to the scores."""
        if self._scores:
            self._scores.update(batch.L, outputs[SCORED], batch.ab, batch.ids)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the scores, before checkpoints are selected."""
        if self._scores:
            found = self._scores.compute(fid=False)
            pl_module.log_dict({f"{SCORED}{name}": value for name, value in found.items() if not name.endswith("_std")})

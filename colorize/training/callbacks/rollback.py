"""Rollback: healthy weights and optimizer states are kept on disk and restored when training fails."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer

from colorize.checkpoint import read_checkpoint


class HealthyCheckpoint:
    """Keeps the last state that proved healthy: ``healthy.ckpt``.

    A state counts only after training has stayed healthy for a while after it: a state saved at the moment training
    starts to fail, before it shows, would be useless.

    Args:
        dirpath: folder of the checkpoints.
    """

    def __init__(self, dirpath: Path | str) -> None:
        self.path = Path(dirpath) / "healthy.ckpt"
        self.candidate = Path(dirpath) / "healthy-candidate.ckpt"
        self.candidate_batch: int | None = None

    def start(self, trainer: Trainer, module: LightningModule) -> None:
        """Save the state at the start of training as healthy, unless the interrupted run left an earlier one."""
        if trainer.is_global_zero:
            self.candidate.unlink(missing_ok=True)
        usable = module.batches and self.path.exists() and read_checkpoint(self.path)["batches"] <= module.batches
        if not trainer.strategy.broadcast(usable):  # all processes save, or none
            trainer.save_checkpoint(self.path)
        self.candidate_batch = None

    def keep(self, trainer: Trainer, module: LightningModule, proven_after: int) -> None:
        """Write a candidate, or promote it to ``healthy.ckpt`` once it is ``proven_after`` batches old."""
        if self.candidate_batch is None:
            trainer.save_checkpoint(self.candidate)
            self.candidate_batch = module.batches
        elif module.batches - self.candidate_batch >= proven_after:
            trainer.strategy.checkpoint_io.flush()
            if trainer.is_global_zero:
                self.candidate.replace(self.path)
            self.candidate_batch = None

    def restore(
        self, trainer: Trainer, module: LightningModule, slower: Iterable[str], factor: float
    ) -> dict[str, Any]:
        """Restore weights, optimizer states, averages and the epoch's sums; training continues with the next batch.

        The number of batches and the factors of earlier rollbacks are not restored.

        Args:
            trainer: the trainer of the run.
            module: the module to restore.
            slower: "G", "D" or both: networks whose learning rates are multiplied by ``factor``.
            factor: in (0, 1).
        Returns:
            The restored checkpoint.
        """
        trainer.strategy.checkpoint_io.flush()
        trainer.strategy.barrier()
        checkpoint = read_checkpoint(self.path)
        module.load_state_dict(checkpoint["state_dict"])
        for optimizer, state in zip(trainer.optimizers, checkpoint["optimizer_states"], strict=True):
            optimizer.load_state_dict(state)
        module.load_means(checkpoint)
        if checkpoint["epoch"] != trainer.current_epoch:
            module.ledger.restart()
        for name in slower:
            module.lr_scale[name] *= factor
        module.prepare_steps()
        self.drop_candidate(trainer)
        return checkpoint

    def drop_candidate(self, trainer: Trainer) -> None:
        """Delete the candidate: training did not stay healthy after it."""
        if self.candidate_batch is not None:
            trainer.strategy.checkpoint_io.flush()
            if trainer.is_global_zero:
                self.candidate.unlink(missing_ok=True)
            self.candidate_batch = None

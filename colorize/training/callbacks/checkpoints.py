"""Write checkpoints: atomically, at each epoch's end, every n batches, and on a signal."""

import signal
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from lightning_utilities.core.apply_func import apply_to_collection

from colorize.base.files import replacing
from colorize.checkpoint import DIGEST, digest_of
from colorize.vocabulary import better_when

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes to a temporary file and renames it, so that a partial checkpoint is never visible."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write ``checkpoint`` to ``path``, with the digest of its weights, see `colorize.checkpoint.digest_of`.

        Raises:
            OSError: if the disk is full or the folder is not writable.
        """
        if "state_dict" in checkpoint:
            checkpoint = {**checkpoint, DIGEST: digest_of(checkpoint["state_dict"])}
        with replacing(path) as temporary, temporary.open("wb", buffering=0) as file:
            kept = _KeepsError(file)
            try:
                torch.save(checkpoint, kept)
            except RuntimeError as error:  # torch's writer says "unexpected pos" for a full disk
                if kept.error is None:
                    raise
                raise OSError(kept.error.errno, kept.error.strerror, str(path)) from error

    def flush(self) -> None:
        """Do nothing: writes are synchronous."""


class AsyncCheckpointIO(AtomicCheckpointIO):
    """Writes in a thread, from a copy of the tensors, so that training continues.

    A pending checkpoint is skipped when a newer one of the same name arrives: a slow disk delays checkpoints, but
    neither blocks training nor fills the memory with copies.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: dict[str, Future[None]] = {}
        self._stream: torch.cuda.Stream | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Copy ``checkpoint`` and write it in the thread.

        Raises:
            OSError: if an earlier checkpoint could not be written.
        """
        before = self._writing.get(str(path))
        if before is not None and not before.cancel() and before.done():
            before.result()  # raises what went wrong
        copy = apply_to_collection(checkpoint, torch.Tensor, lambda tensor: tensor.detach().clone())
        copied = torch.cuda.current_stream().record_event() if torch.cuda.is_initialized() else None
        self._writing[str(path)] = self._thread.submit(self._write, copy, path, copied)

    def _write(self, checkpoint: dict[str, Any], path: str | Path, copied: torch.cuda.Event | None) -> None:
        # A stream of its own: on training's, the copy to main memory would wait for all batches launched since. The
        # same each time: CUDA has 32, and one chosen anew would at times be the one that training is recorded on
        if copied:
            self._stream = self._stream or torch.cuda.Stream()
            self._stream.wait_event(copied)
        with torch.cuda.stream(self._stream):  # None: on no other
            super().save_checkpoint(checkpoint, path)

    def flush(self) -> None:
        """Wait until all checkpoints are on disk.

        Raises:
            OSError: if one could not be written.
        """
        while self._writing:
            _, written = self._writing.popitem()
            if not written.cancelled():
                written.result()

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete a checkpoint, after pending ones have been written."""
        self.flush()
        super().remove_checkpoint(path)

    def teardown(self) -> None:
        """Write pending checkpoints; called at the end of a run, even after an error."""
        self.flush()


class _KeepsError:
    """A file that keeps the error of a failed write."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self.file.flush()


class SavingTrainer(Trainer):
    """Checks for non-finite losses and weights before a checkpoint is collected.

    A rollback changes weights, moments and counters: during the collection, it would mix two states in one file.
    """

    def save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        """Save a checkpoint, after a rollback if a loss or weight is non-finite.

        Raises:
            TrainingDivergedError: if a loss or weight is non-finite, unless rollback recovers.
        """
        self.lightning_module.check_finite(weights=True)
        super().save_checkpoint(*args, **kwargs)


class BestCheckpoint(ModelCheckpoint):
    """Keeps the checkpoint with the best value of a metric.

    Args:
        monitor: logged name of the metric.
        mode: ``min`` or ``max``; ``auto`` takes the one that is better for the metric, and ``min`` where none is known.
        kwargs: of Lightning's ``ModelCheckpoint``.
    """

    def __init__(self, monitor: str, mode: str = "auto", **kwargs: Any) -> None:
        super().__init__(monitor=monitor, mode=better_when(monitor) or "min" if mode == "auto" else mode, **kwargs)


class LastCheckpoint(Checkpoint):
    """Writes ``last.ckpt``, from which a run can be resumed exactly.

    After SIGTERM or the first Ctrl-C, the batch is finished, a checkpoint is saved, and the process exits with status
    128 + signal, so that a scheduler does not take it for success. A second signal ends the run at once.

    Args:
        dirpath: folder of ``last.ckpt``.
        every_n_batches: also save every so many batches within epochs; 0 saves only at their ends.
    """

    def __init__(self, dirpath: str, every_n_batches: int = 0) -> None:
        self.path = Path(dirpath) / "last.ckpt"
        self.every_n_batches = every_n_batches
        self._received: int | None = None
        self._handlers: dict[int, Any] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Remove partial checkpoints of a killed run."""
        if trainer.is_global_zero:
            for partial in self.path.parent.glob(".*.ckpt"):
                partial.unlink()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Install signal handlers, after Lightning has installed its own."""
        if threading.current_thread() is threading.main_thread():
            self._handlers = {number: signal.signal(number, self._receive) for number in SIGNALS}

    def _receive(self, number: int, frame: Any) -> None:
        self._received = number
        self._restore_handlers()  # a second signal is not held back

    def _restore_handlers(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Wait for pending checkpoints, before loggers look for files, and restore the signal handlers.

        Not in `teardown`: Lightning has removed its handlers by then, and this would restore them.
        """
        trainer.strategy.checkpoint_io.flush()
        self._restore_handlers()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Restore the signal handlers, without saving: the state within a batch is inconsistent."""
        self._restore_handlers()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Exit if a signal was received; save if it is time."""
        self._leave_if_asked(trainer)
        # The last batch of an epoch is followed by the epoch's own save
        if self.every_n_batches and pl_module.batches % self.every_n_batches == 0 and not trainer.is_last_batch:
            trainer.save_checkpoint(self.path)

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Exit if a signal was received; the resumed run skips the rest of this validation.

        Several processes may have different numbers of validation batches, so they exit at the epoch's end instead.
        """
        if trainer.world_size == 1:
            self._leave_if_asked(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save; Lightning runs this after all callbacks that are not checkpoints, and after ``best``."""
        trainer.save_checkpoint(self.path)
        if self._agreed(trainer):
            raise SystemExit(128 + self._received)

    def _agreed(self, trainer: Trainer) -> bool:
        """Return whether any process received a signal: all must exit together, since saving waits for all."""
        received = self._received is not None
        if trainer.world_size > 1:
            received = trainer.strategy.reduce_boolean_decision(received, all=False)
            self._received = (self._received or signal.SIGTERM) if received else None
        return received

    def _leave_if_asked(self, trainer: Trainer) -> None:
        if self._agreed(trainer):
            trainer.save_checkpoint(self.path)
            raise SystemExit(128 + self._received)

"""When and how checkpoints are written: atomically, at each epoch's end, every n batches, and on a signal."""

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
    """Writes beside the target and renames, so that a reader or a killed run never meets half a file."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write ``checkpoint`` to ``path``, with the digest of its weights, see `colorize.checkpoint.digest_of`.

        Raises:
            OSError: if there is no space, or the folder cannot be written.
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
        """Return when everything is on disk, as it already is."""


class AsyncCheckpointIO(AtomicCheckpointIO):
    """Writes in a thread, from a copy of the tensors, so that training goes on meanwhile.

    A checkpoint that still waits for the disk when a newer one of the same name comes is left out: a slow disk
    delays checkpoints, it neither holds up training nor fills the memory with copies.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: dict[str, Future[None]] = {}
        self._stream: torch.cuda.Stream | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Copy ``checkpoint`` and have it written.

        Raises:
            OSError: if an earlier one could not be written.
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
        """Return when everything is on disk.

        Raises:
            OSError: if something could not be written.
        """
        while self._writing:
            _, written = self._writing.popitem()
            if not written.cancelled():
                written.result()

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete, after what is on its way has been written."""
        self.flush()
        super().remove_checkpoint(path)

    def teardown(self) -> None:
        """Write what is left; called at the end of a run, however it ends."""
        self.flush()


class _KeepsError:
    """A file that remembers why a write failed."""

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
    """Looks for numbers that are none before a checkpoint is gathered, whoever asks for it.

    A way back changes weights, moments and counters: while they are gathered, the file would hold some of each state.
    """

    def save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        """Save, after a way back if there must be one.

        Raises:
            TrainingDivergedError: if there is none.
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
    """Keeps ``last.ckpt``, from which a run goes on exactly where it stood.

    SIGTERM and the first Ctrl-C let the batch end, save, and leave with status 128 + signal, so that a scheduler
    does not take it for success. A second signal ends the run at once.

    Args:
        dirpath: folder of ``last.ckpt``.
        every_n_batches: also save in the middle of epochs; 0 saves at their ends only.
    """

    def __init__(self, dirpath: str, every_n_batches: int = 0) -> None:
        self.path = Path(dirpath) / "last.ckpt"
        self.every_n_batches = every_n_batches
        self._received: int | None = None
        self._handlers: dict[int, Any] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Remove what a killed run left half-written."""
        if trainer.is_global_zero:
            for partial in self.path.parent.glob(".*.ckpt"):
                partial.unlink()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over the signals, after Lightning has set its own handlers."""
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
        """Wait for the disk, before loggers look for files, and give the signals back.

        Not in `teardown`: by then Lightning has taken its own handlers away, and they would come back, with the run.
        """
        trainer.strategy.checkpoint_io.flush()
        self._restore_handlers()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the signals back; the middle of a batch is no state to save."""
        self._restore_handlers()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Save if it is time, and leave if a signal came."""
        self._leave_if_asked(trainer)
        # The last batch of an epoch is followed by the epoch's own save
        if self.every_n_batches and pl_module.batches % self.every_n_batches == 0 and not trainer.is_last_batch:
            trainer.save_checkpoint(self.path)

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Leave if a signal came; the resumed run leaves the rest of this validation out.

        Several processes may have different numbers of batches: they agree at the epoch's end, which comes next.
        """
        if trainer.world_size == 1:
            self._leave_if_asked(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save; runs after the callbacks that are no checkpoints, and after ``best``."""
        trainer.save_checkpoint(self.path)
        if self._agreed(trainer):
            raise SystemExit(128 + self._received)

    def _agreed(self, trainer: Trainer) -> bool:
        """Tell whether any process got a signal: they must leave together, saving waits for all."""
        received = self._received is not None
        if trainer.world_size > 1:
            received = trainer.strategy.reduce_boolean_decision(received, all=False)
            self._received = (self._received or signal.SIGTERM) if received else None
        return received

    def _leave_if_asked(self, trainer: Trainer) -> None:
        if self._agreed(trainer):
            trainer.save_checkpoint(self.path)
            raise SystemExit(128 + self._received)

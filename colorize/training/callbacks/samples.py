"""A picture of fixed validation images at each epoch's end: grey, generated, real."""

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image
from torch import Tensor

from colorize.base.files import replacing
from colorize.grids import colorization_columns, picture_grid


class SampleGrid(Callback):
    """Writes ``epoch-NNN.png`` and passes it to every logger that shows images.

    A thread draws and writes it while training continues; loggers get it after the next epoch, or at the end.

    Args:
        dirpath: folder of the pictures.
        num_images: number of rows; the first images of the validation set, so that epochs and runs are comparable.
    """

    def __init__(self, dirpath: str, num_images: int = 8) -> None:
        self.dirpath = Path(dirpath)
        self.num_images = num_images
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="samples")
        self._drawn: tuple[int, int, Path, Future[None]] | None = None  # epoch, step, file

    @torch.no_grad()
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Colorize the images and write the picture."""
        if not trainer.is_global_zero:
            return
        data = trainer.datamodule
        batch = data.val_batch(data.store.val_rows[: self.num_images], pl_module.device)
        if not len(batch.L):
            return
        generator = pl_module.inference_generator.eval()
        with trainer.precision_plugin.forward_context():
            fake_ab = generator(batch.L)
        generator.train()
        self._log_last(trainer)
        columns = colorization_columns(batch.L, fake_ab, batch.ab)
        path = self.dirpath / f"epoch-{trainer.current_epoch:03d}.png"
        written = self._thread.submit(_draw, columns, path)
        self._drawn = (trainer.current_epoch, trainer.global_step - 1, path, written)  # the step of the last batch

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the last picture."""
        self._log_last(trainer)

    def _log_last(self, trainer: Trainer) -> None:
        """Pass the last picture to the loggers."""
        if self._drawn is None:
            return
        epoch, step, path, written = self._drawn
        self._drawn = None
        written.result()  # raises the thread's error
        for logger in trainer.loggers:
            if hasattr(logger, "log_image"):  # W&B: copies the file, which is faster than compressing it again
                logger.log_image("samples", [str(path)], step=step, caption=[f"epoch {epoch}"])
            elif hasattr(getattr(logger, "experiment", None), "add_image"):  # TensorBoard
                logger.experiment.add_image("samples", np.asarray(Image.open(path)), step, dataformats="HWC")


def _draw(columns: dict[str, Tensor], path: Path) -> None:
    with replacing(path) as temporary:
        picture_grid(columns).save(temporary, compress_level=1)  # a tenth of the time, 20% larger

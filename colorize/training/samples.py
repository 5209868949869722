"""A picture of fixed validation images at each epoch's end: grey, generated, real."""

from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from colorize.files import replacing
from colorize.grids import colorization_columns, picture_grid


class SampleGrid(Callback):
    """Writes ``epoch-NNN.png`` and hands the picture to every logger that shows pictures.

    Args:
        dirpath: folder of the pictures.
        num_images: rows; the first images of the validation set, so that epochs and runs compare.
    """

    def __init__(self, dirpath: str, num_images: int = 8) -> None:
        self.dirpath = Path(dirpath)
        self.num_images = num_images

    @torch.no_grad()
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Colorize and show."""
        if not trainer.is_global_zero:
            return
        data = trainer.datamodule
        batch = data.val_batch(data.store.val_rows[: self.num_images], pl_module.device)
        if not len(batch.L):
            return
        pl_module.generator.eval()
        with trainer.precision_plugin.forward_context():
            fake_ab = pl_module.generator(batch.L)
        pl_module.generator.train()
        grid = picture_grid(colorization_columns(batch.L, fake_ab, batch.ab))
        with replacing(self.dirpath / f"epoch-{trainer.current_epoch:03d}.png") as path:
            grid.save(path)
        for logger in trainer.loggers:
            if hasattr(logger, "log_image"):  # W&B
                logger.log_image("samples", [grid], caption=[f"epoch {trainer.current_epoch}"])
            elif hasattr(getattr(logger, "experiment", None), "add_image"):  # TensorBoard
                logger.experiment.add_image("samples", np.asarray(grid), trainer.global_step, dataformats="HWC")

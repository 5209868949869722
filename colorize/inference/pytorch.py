"""Predict with a generator in PyTorch."""

import re
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from colorize.base.errors import UserError
from colorize.checkpoint import load_generator

DTYPES = {"32": torch.float32, "bf16": torch.bfloat16, "16": torch.float16}
OUT_OF_MEMORY = re.compile(r"out of memory|can.t allocate memory|not enough memory", re.IGNORECASE)


class TorchPredictor:
    """A generator on a device; see `colorize.inference.predictor.Predictor`.

    Args:
        generator: ``L`` ``(B, 1, h, w)`` to ``ab`` ``(B, 2, h, w)``, in evaluation mode.
        image_size: side of the training images in pixels.
        device: device to run on.
        dtype: dtype of matrix products and convolutions, by autocast.
        about: see `Predictor`.
    """

    def __init__(
        self,
        generator: nn.Module,
        image_size: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.generator = generator.to(self.device)
        self.image_size = image_size
        self.factor = generator.factor
        self.dtype = dtype
        self.about = about or {}

    @classmethod
    def load(cls, checkpoint: str | Path, device: str, precision: str) -> "TorchPredictor":
        """Load a training checkpoint or an exported folder, local or from the hub.

        Raises:
            UserError: if it is missing, damaged or not a model of this project, or the device is not available.
        """
        chosen = choose_device(device)
        generator, model = load_generator(checkpoint)
        return cls(generator, model.image_size, chosen, DTYPES[precision], model.about)

    @torch.inference_mode()
    def __call__(self, L: np.ndarray) -> np.ndarray:
        """Predict chroma; see `Predictor`."""
        full = self.dtype == torch.float32
        try:
            with nullcontext() if full else torch.autocast(self.device.type, self.dtype):
                return self.generator(torch.from_numpy(L).to(self.device)).float().cpu().numpy()
        except RuntimeError as error:  # includes a GPU's OutOfMemoryError; on a CPU only the message identifies it
            if OUT_OF_MEMORY.search(str(error)):
                raise MemoryError(str(error)) from None
            raise


def choose_device(asked: str) -> torch.device:
    """Return the device of a name; ``auto`` chooses the best one available.

    Raises:
        UserError: if it is not available.
    """
    here = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if asked == "auto":
        asked = next(name for name, available in here.items() if available)
    if not here.get(asked):
        raise UserError(
            f"device={asked} is not available; use one of auto, {', '.join(n for n, there in here.items() if there)}"
        )
    return torch.device(asked)

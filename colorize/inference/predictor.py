"""What predicts a small picture's chroma: a generator in PyTorch, or its ONNX export without PyTorch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from colorize.base.checks import one_of

PRECISIONS = ("32", "bf16", "16")


class Predictor(Protocol):
    """Maps lightness to chroma.

    Attributes:
        image_size: pixels a side that it was trained at.
        factor: sides must be multiples of it.
        about: what its file says of it, see `colorize.checkpoint.Model`.
    """

    image_size: int
    factor: int
    about: Mapping[str, Any]

    def __call__(self, L: np.ndarray) -> np.ndarray:
        """Map normalised L ``(B, 1, h, w)`` float32 to normalised ab ``(B, 2, h, w)`` float32, both in [-1, 1].

        Raises:
            MemoryError: if that is too large for the device.
        """


def load_predictor(checkpoint: str | Path, device: str = "auto", precision: str = "32") -> Predictor:
    """Load what there is of that name.

    Args:
        checkpoint: a training checkpoint; a folder that ``colorize export`` made, or its ``model.onnx``; the name of
            a shipped one, see `colorize.weights`; or the ``owner/name`` of such a folder on the Hugging Face hub.
        device: ``auto`` takes a GPU if there is one; or ``cpu``, ``cuda``, ``mps``.
        precision: ``32``, ``bf16`` or ``16``: what the network multiplies in.
    Raises:
        UserError: if the file is missing, damaged or foreign, or the device or precision is not here.
    """
    one_of("precision", precision, PRECISIONS)
    if Path(checkpoint).suffix == ".onnx":
        from colorize.inference.onnx import OnnxPredictor

        return OnnxPredictor(Path(checkpoint), device, precision)
    from colorize.inference.pytorch import TorchPredictor

    return TorchPredictor.load(checkpoint, device, precision)

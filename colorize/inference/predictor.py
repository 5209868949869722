"""The interface of predictors, which map lightness to chroma: a generator in PyTorch, or its ONNX export."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from colorize.base.checks import one_of

PRECISIONS = ("32", "bf16", "16")


class Predictor(Protocol):
    """Maps lightness to chroma.

    Attributes:
        image_size: side of the training images in pixels.
        factor: height and width of the input must be multiples of it.
        about: metadata of the model, see `colorize.checkpoint.Model`.
    """

    image_size: int
    factor: int
    about: Mapping[str, Any]

    def __call__(self, L: np.ndarray) -> np.ndarray:
        """Map normalized L ``(B, 1, h, w)`` float32 to normalized ab ``(B, 2, h, w)`` float32, both in [-1, 1].

        Raises:
            MemoryError: if the input is too large for the device.
        """


def load_predictor(checkpoint: str | Path, device: str = "auto", precision: str = "32") -> Predictor:
    """Load a checkpoint as a predictor.

    Args:
        checkpoint: a training checkpoint; a folder made by ``colorize export``, or its ``model.onnx``; the name of a
            shipped model, see `colorize.weights`; or the ``owner/name`` of an exported folder on the Hugging Face hub.
        device: ``auto`` (a GPU if there is one), ``cpu``, ``cuda`` or ``mps``.
        precision: ``32``, ``bf16`` or ``16``, of the network's matrix products and convolutions.
    Raises:
        UserError: if the file is missing, damaged or not a model of this project, or the device or precision is not
            available.
    """
    one_of("precision", precision, PRECISIONS)
    if Path(checkpoint).suffix == ".onnx":
        from colorize.inference.onnx import OnnxPredictor

        return OnnxPredictor(Path(checkpoint), device, precision)
    from colorize.inference.pytorch import TorchPredictor

    return TorchPredictor.load(checkpoint, device, precision)

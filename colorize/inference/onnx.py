"""Predict with an ONNX export in onnxruntime; nothing here imports torch."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from colorize.base.claims import MAX_SIDE, check_claims, check_whole, from_json
from colorize.base.digests import SUMS, check_sums
from colorize.base.errors import UserError, first_line, missing_extra
from colorize.base.machine import cores

FLOAT = "tensor(float)"
OUT_OF_MEMORY = re.compile(r"allocate memory|bad.?alloc", re.IGNORECASE)
CLAIMS = ("image_size", "factor", "generator", "about")
INPUTS, HINTS = {"L": (FLOAT, 4)}, {"hints": (FLOAT, 4)}
PROVIDERS = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}


class OnnxPredictor:
    """An exported generator; see `colorize.inference.predictor.Predictor`.

    Args:
        path: ``model.onnx`` from ``colorize export --onnx``.
        device: ``auto`` (a GPU if onnxruntime has one), ``cpu`` or ``cuda``.
        precision: only ``32``; an ONNX file has its own precision.
    Raises:
        UserError: if the file is missing, damaged or not a model of this project, or the device or precision is not
            available.
    """

    def __init__(self, path: Path, device: str = "auto", precision: str = "32") -> None:
        if precision != "32":
            raise UserError(f"precision={precision} cannot be used with {path.name}, which has its own; leave it out")
        session = open_session(path, device)
        given = session.get_modelmeta().custom_metadata_map
        try:
            metadata = {name: from_json(name, given.get(name, "")) for name in CLAIMS}
            check_claims(metadata["generator"], metadata["image_size"], metadata["about"])
            check_whole("factor", metadata["factor"], 1, MAX_SIDE)
        except ValueError as error:
            raise UserError(f"checkpoint {path} is an ONNX model of another project: {error}") from None
        inputs = {found.name: (found.type, len(found.shape)) for found in session.get_inputs()}
        outputs = [(found.name, found.type) for found in session.get_outputs()]
        if inputs not in (INPUTS, INPUTS | HINTS) or outputs != [("ab", FLOAT)]:
            raise UserError(f"checkpoint {path} is an ONNX model of another project: it does not map L to ab")
        self.path = path
        self.image_size: int = metadata["image_size"]
        self.factor: int = metadata["factor"]
        self.generator: dict[str, Any] = metadata["generator"]  # as in `colorize.checkpoint.Model`
        self.about: dict[str, Any] = metadata["about"]
        self.session = session
        self.takes_hints = "hints" in inputs

    def __call__(self, L: np.ndarray) -> np.ndarray:
        """Predict chroma; see `Predictor`."""
        given = {"L": L}
        if self.takes_hints:
            given["hints"] = np.zeros((len(L), 3, *L.shape[2:]), np.float32)  # no hints
        try:
            ab = self.session.run(["ab"], given)[0]
        except Exception as error:  # onnxruntime's exceptions have no other common base
            if OUT_OF_MEMORY.search(str(error)):
                raise MemoryError(str(error)) from None
            raise UserError(f"checkpoint {self.path} cannot predict ({first_line(error)})") from None
        if ab.shape != (len(L), 2, *L.shape[2:]):
            raise UserError(f"checkpoint {self.path} predicts {ab.shape} from {L.shape}, which is not chroma")
        return ab


def open_session(path: Path, device: str = "auto") -> Any:
    """Open an ONNX file as an ``onnxruntime.InferenceSession``.

    Raises:
        UserError: if onnxruntime or the device is not available, or the file is missing or damaged.
    """
    if not path.is_file():
        raise UserError(f"checkpoint {path} is not a file; colorize export --onnx makes one")
    sums = path.with_name(SUMS)
    try:
        if sums.is_file():  # otherwise a flipped byte would go unnoticed
            check_sums(sums, [path], listed=False)
    except (ValueError, OSError) as error:
        raise UserError(f"checkpoint {path} is damaged: {error}") from None
    try:
        import onnxruntime
    except ImportError:
        raise UserError(missing_extra(f"{path} needs onnxruntime", "onnx")) from None
    here = {name: provider for name, provider in PROVIDERS.items() if provider in onnxruntime.get_available_providers()}
    if device != "auto" and device not in here:
        raise UserError(f"device={device} is not available for ONNX; use one of auto, {', '.join(here)}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # frees the cores for file I/O
    options.log_severity_level = 4  # errors are raised as exceptions
    providers = [provider for name, provider in here.items() if device in ("auto", name)]
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # onnxruntime's exceptions have no other common base
        raise UserError(f"checkpoint {path} is damaged or not an ONNX model ({first_line(error)})") from None

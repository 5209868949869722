"""Read trained models, of training, exported, or on the hub: plain data only, and one line for what will not do."""

import hashlib
import json
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from colorize.errors import UserError
from colorize.networks import build_generator

WEIGHTS, CONFIG, CARD, SUMS, ONNX = "model.safetensors", "config.json", "README.md", "SHA256SUMS", "model.onnx"


@dataclass(frozen=True)
class Model:
    """A trained generator as plain data.

    Attributes:
        generator: ``name`` and arguments for `build_generator`.
        image_size: pixels a side that it was trained at.
        about: ``epochs``, ``batches``, ``metrics``, ``weights`` (raw or their mean), and ``provenance``: ``config``,
            ``version``, ``commit``; as far as the file says.
        weights: the generator's state, in float32; empty for an ONNX export.
        file: that holds the weights.
    """

    generator: dict[str, Any]
    image_size: int
    about: dict[str, Any]
    weights: dict[str, Tensor]
    file: Path | None = None


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a training checkpoint on the CPU; the file's weights are mapped, not copied.

    Raises:
        UserError: if the file is missing, damaged, holds more than plain data, or is no checkpoint of this project.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"checkpoint {path} is no file; name one such as RUN/checkpoints/best.ckpt")
    if not zipfile.is_zipfile(path):
        raise UserError(f"checkpoint {path} is damaged or no checkpoint: it is no archive as torch writes them")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError:
        raise UserError(f"checkpoint {path} is foreign: it holds more than plain data and is not loaded") from None
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        reason = f"{error}".splitlines()[0][:120]
        raise UserError(f"checkpoint {path} is damaged or no checkpoint ({reason})") from None
    if not isinstance(checkpoint, dict) or "generator" not in checkpoint.get("hyper_parameters", {}):
        raise UserError(f"checkpoint {path} is a checkpoint of something else: it names no generator")
    return checkpoint


def read_model(name: str | Path) -> Model:
    """Read a trained generator: the running mean of its weights, where training kept one.

    Args:
        name: a training checkpoint; a folder that ``colorize export`` made; or the ``owner/name`` of such a folder on
            the Hugging Face hub, which is fetched once and kept in the hub's own cache.
    Raises:
        UserError: if it is missing, damaged or foreign.
    """
    path = Path(name)
    if path.is_dir():
        return _read_folder({file: path / file for file in (CONFIG, WEIGHTS, SUMS)}, path)
    if not path.exists() and not path.suffix and len(path.parts) == 2:
        return _read_folder(_fetched(str(name)), path)
    checkpoint = read_checkpoint(path)
    settings = checkpoint["hyper_parameters"]
    mean = _under("generator_ema.", checkpoint)
    return Model(
        settings["generator"],
        settings["image_size"],
        {
            "epochs": checkpoint.get("epoch", -1) + 1,
            "batches": checkpoint.get("batches"),
            "metrics": checkpoint.get("metrics", {}),
            "provenance": settings.get("provenance") or {},
            "weights": "mean over training (EMA)" if mean else "raw",
        },
        mean or _under("generator.", checkpoint),
        path,
    )


def _under(prefix: str, checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    found = {key.removeprefix(prefix): v for key, v in checkpoint["state_dict"].items() if key.startswith(prefix)}
    return _float32(found)


def _float32(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.float() if value.is_floating_point() else value for name, value in weights.items()}


def load_generator(name: str | Path) -> tuple[nn.Module, Model]:
    """Build a trained generator in evaluation mode, on the CPU.

    Raises:
        UserError: as `read_model`, or if the weights do not fit the network.
    """
    model = read_model(name)
    try:
        with torch.device("meta"):  # no memory and no random numbers for weights that are replaced
            generator = build_generator(**model.generator)
        generator.load_state_dict(model.weights, assign=True)
    except (RuntimeError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"checkpoint {name}: its generator cannot be built ({reason})") from None
    return generator.eval(), model


def sha256(path: Path) -> str:
    """Return the hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_folder(files: dict[str, Path], name: Path) -> Model:
    for file in (CONFIG, WEIGHTS):
        if not files[file].is_file():
            raise UserError(f"checkpoint {name} is no exported model: it has no {file}")
    if files[SUMS].is_file():  # a flipped byte would load without a word
        expected = dict(reversed(line.split(maxsplit=1)) for line in files[SUMS].read_text().splitlines() if line)
        for file in (CONFIG, WEIGHTS):
            if expected.get(file) != sha256(files[file]):
                raise UserError(f"checkpoint {name} is damaged: the sha256 of {file} is not the one in {SUMS}")
    try:
        config = json.loads(files[CONFIG].read_text())
        weights = _float32(load_file(files[WEIGHTS]))
        return Model(config["generator"], config["image_size"], config["about"], weights, files[WEIGHTS])
    except (ValueError, KeyError, TypeError):
        raise UserError(f"checkpoint {name} is a model of something else: {CONFIG} names no generator") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"checkpoint {name}: {WEIGHTS} is damaged ({error})") from None


def _fetched(name: str) -> dict[str, Path]:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils.logging import set_verbosity_error

    set_verbosity_error()  # it tells each retry; what became of them is told below
    try:
        return {file: Path(hf_hub_download(name, file)) for file in (CONFIG, WEIGHTS, SUMS)}
    except (OSError, ValueError) as error:  # no such folder there, a file that it lacks, no network, no such name
        reason = str(error).strip().splitlines()[0][:160]
        raise UserError(f"checkpoint {name} is neither here nor on the Hugging Face hub ({reason})") from None

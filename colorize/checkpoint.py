"""Read trained models from checkpoints, exported folders or the Hugging Face hub: plain data only, validated."""

import hashlib
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from colorize.base.claims import check_claims, read_json, short_repr
from colorize.base.digests import SUMS, check_sums
from colorize.base.errors import UserError, first_line
from colorize.networks import build_generator
from colorize.weights import located

WEIGHTS, CONFIG, CARD, ONNX = "model.safetensors", "config.json", "README.md", "model.onnx"
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64)  # int64: batch norm's counter
DIGEST = "weights_sha256"  # checkpoint key, see `digest_of`; checkpoints from before 2026-11-27 lack it
DATA = "ColorizationDataModule"  # checkpoint key of that class's state
NAMED = 3  # maximum number of tensors listed in an error


@dataclass(frozen=True)
class Model:
    """A trained generator as plain data.

    Attributes:
        generator: ``name`` and arguments for `build_generator`.
        image_size: side of the training images in pixels.
        about: ``epochs``, ``batches``, ``metrics``, ``weights`` (raw or their mean), ``trained_on`` (digest of the
            training images, see `colorize.data.store.training_pictures`) and ``provenance`` (``config``, ``version``,
            ``commit``), as far as the file has them.
        weights: the generator's state dict, in float32; empty for an ONNX export.
        file: the file with the weights.
    """

    generator: dict[str, Any]
    image_size: int
    about: dict[str, Any]
    weights: dict[str, Tensor]
    file: Path | None = None


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a training checkpoint on the CPU; its weights are memory-mapped, not copied.

    Each part of the archive is verified by the CRC-32 that torch writes, and the weights by the digest that training
    adds, so that a single flipped bit is detected. For the U-Net of 54 million parameters with its optimizers (686 MB),
    this takes 0.24 s and 0.13 s.

    Raises:
        UserError: if the file is missing, damaged, contains more than plain data, or is not a checkpoint of this
            project.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"checkpoint {path} is not a file; name one such as RUN/checkpoints/best.ckpt")
    try:
        _check_archive(path)
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        if isinstance(checkpoint, dict) and DIGEST in checkpoint:
            _check_tensors(checkpoint["state_dict"], path.stat().st_size)
            if checkpoint[DIGEST] != digest_of(checkpoint["state_dict"]):
                raise ValueError("its weights do not match their digest")
    except pickle.UnpicklingError:
        raise UserError(f"checkpoint {path} is not loaded: it contains more than plain data") from None
    except Exception as error:  # a crafted pickle can make the reader raise any type
        raise UserError(f"checkpoint {path} is damaged or not a checkpoint ({first_line(error)})") from None
    settings = checkpoint.get("hyper_parameters") if isinstance(checkpoint, dict) else None
    if not isinstance(settings, dict) or not isinstance(settings.get("generator"), dict):
        raise UserError(f"checkpoint {path} is of another project: it names no generator")
    weights = checkpoint.get("state_dict")
    if not isinstance(weights, dict) or not all(isinstance(name, str) for name in weights):
        raise UserError(f"checkpoint {path} is of another project: it has no named weights")
    try:
        check_claims(settings["generator"], settings.get("image_size"), _about(checkpoint))
    except ValueError as error:
        raise UserError(f"checkpoint {path} cannot be used: {error}") from None
    return checkpoint


def _about(checkpoint: dict[str, Any]) -> dict[str, Any]:
    epoch, data = checkpoint.get("epoch", -1), checkpoint.get(DATA)
    return {
        "epochs": epoch + 1 if isinstance(epoch, int) else epoch,
        "batches": checkpoint.get("batches"),
        "metrics": checkpoint.get("metrics", {}),
        "trained_on": data.get("trained_on") if isinstance(data, dict) else None,
        "provenance": checkpoint["hyper_parameters"].get("provenance") or {},
    }


def digest_of(weights: Mapping[str, Tensor]) -> str:
    """Return the sha256 over the names, dtypes, shapes and bytes of weights, independent of their order."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        value = weights[name].detach()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.cpu().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _check_archive(path: Path) -> None:
    if not zipfile.is_zipfile(path):
        raise ValueError("it is not an archive written by torch")
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
        if packed or sum(entry.file_size for entry in entries) > path.stat().st_size:
            raise ValueError("its parts are larger than the file")  # torch never compresses; avoids zip bombs
        if (damaged := archive.testzip()) is not None:
            raise ValueError(f"the checksum of {damaged} does not match")


def read_model(name: str | Path) -> Model:
    """Read a trained generator, with the running mean of its weights if training kept one.

    Everything in the file is validated here, before memory is allocated for it: types, ranges, sizes, and that the
    weights are finite numbers. Weights of any floating-point precision are accepted.

    Args:
        name: a training checkpoint; a folder made by ``colorize export``; the name of a shipped model, see
            `colorize.weights`; or the ``owner/name`` of an exported folder on the Hugging Face hub, which is downloaded
            once into the hub's own cache.
    Raises:
        UserError: if it is missing, damaged or not a model of this project.
    """
    path = located(name)
    if path.is_dir():
        return _read_folder({file: path / file for file in (CONFIG, WEIGHTS, SUMS)}, path)
    if not path.exists() and not path.suffix and len(path.parts) == 2:
        return _read_folder(_fetched(str(name)), path)
    checkpoint = read_checkpoint(path)
    settings, state = checkpoint["hyper_parameters"], checkpoint["state_dict"]
    mean = _under("generator_ema.", state)
    about = _about(checkpoint) | {"weights": "mean over training (EMA)" if mean else "raw"}
    weights = _checked(mean or _under("generator.", state), path)
    return Model(settings["generator"], settings["image_size"], about, weights, path)


def _under(prefix: str, weights: Mapping[str, Any]) -> dict[str, Any]:
    return {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}


def _checked(weights: Mapping[str, Any], file: Path) -> dict[str, Tensor]:
    """Return weights in float32; they are validated before anything is allocated."""
    try:
        _check_tensors(weights, file.stat().st_size)
        weights = {name: value.float() if value.is_floating_point() else value for name, value in weights.items()}
        for name, value in weights.items():
            if value.numel() and not all(bound.isfinite() for bound in value.aminmax()):
                raise ValueError(f"{short_repr(name)} contains non-finite numbers")
    except (ValueError, OSError) as error:
        raise UserError(f"checkpoint {file} cannot be used: {first_line(error)}") from None
    return weights


def _check_tensors(weights: Mapping[str, Any], size: int) -> None:
    """Check that weights are dense tensors on the CPU with at most ``size`` bytes in total, the size of their file."""
    for name, value in weights.items():
        if not isinstance(value, Tensor) or value.layout != torch.strided or value.device.type != "cpu":
            raise ValueError(f"{short_repr(name)} is not a dense tensor")
        if value.dtype not in DTYPES:
            raise ValueError(f"{short_repr(name)} has the type {value.dtype}")
    if sum(value.numel() * value.itemsize for value in weights.values()) > size:  # strides of 0, or shared storage
        raise ValueError("its weights claim to be larger than the file")


def blueprint(generator: dict[str, Any]) -> nn.Module:
    """Build a generator on the ``meta`` device, with shapes but without memory for its weights.

    Args:
        generator: see `Model`; already checked by `check_claims`.
    Raises:
        UserError: if there is no such generator, or it does not map lightness to chroma.
    """
    try:
        with torch.device("meta"), torch.no_grad():  # the weights are replaced: neither allocate nor draw them
            network = build_generator(**generator).eval()
            side = network.factor
            ab = network(torch.empty(1, 1, side, side))
    except (UserError, ImportError):
        raise
    except Exception as error:  # arguments from a file can make a network raise any type
        raise UserError(f"its generator cannot be built ({first_line(error)})") from None
    if ab.shape != (1, 2, side, side):
        raise UserError("its generator does not map lightness to chroma")
    return network


def load_generator(name: str | Path) -> tuple[nn.Module, Model]:
    """Build a trained generator in evaluation mode, on the CPU.

    Raises:
        UserError: as in `read_model` and `blueprint`, or if the weights do not fit the network.
    """
    model = read_model(name)
    try:
        generator = blueprint(model.generator)
        _check_fit(generator.state_dict(), model.weights)
    except ValueError as error:
        raise UserError(f"checkpoint {name} cannot be used: {first_line(error)}") from None
    generator.load_state_dict(model.weights, assign=True)
    return generator, model


def _check_fit(own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
    wrong = [f"{name} is missing" for name in own if name not in weights]
    wrong += [f"{short_repr(name)} is unexpected" for name in weights if name not in own]
    for name in sorted(own.keys() & weights.keys()):
        (expected, kind), (found, other) = ((value[name].shape, value[name].dtype) for value in (own, weights))
        if expected != found:
            wrong.append(f"{name} is {_shape(found)}, not {_shape(expected)}")
        elif kind != other:
            wrong.append(f"{name} has the type {other}")
    if wrong:
        more = f" and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
        raise ValueError(f"its weights do not fit its generator: {', '.join(wrong[:NAMED])}{more}")


def _shape(shape: torch.Size) -> str:
    return "x".join(map(str, shape)) or "one number"


def _read_folder(files: dict[str, Path], name: Path) -> Model:
    for file in (CONFIG, WEIGHTS):
        if not files[file].is_file():
            raise UserError(f"checkpoint {name} is not an exported model: it has no {file}")
    try:
        if files[SUMS].exists() or files[SUMS].is_symlink():  # otherwise a flipped byte would go unnoticed
            check_sums(files[SUMS], [files[CONFIG], files[WEIGHTS]])
        config = read_json(files[CONFIG])
    except OSError as error:
        raise UserError(f"checkpoint {name} cannot be read: {error.strerror}: {error.filename}") from None
    except ValueError as error:
        raise UserError(f"checkpoint {name} is damaged or of another project: {error}") from None
    if not isinstance(config, dict) or "generator" not in config:
        raise UserError(f"checkpoint {name} is of another project: {CONFIG} names no generator")
    generator, image_size, about = (config.get(key) for key in ("generator", "image_size", "about"))
    try:
        check_claims(generator, image_size, about)
    except ValueError as error:
        raise UserError(f"checkpoint {name} cannot be used: {error}") from None
    try:
        weights = load_file(files[WEIGHTS])
    except Exception as error:  # a crafted header can make the reader raise any type
        raise UserError(f"checkpoint {name}: {WEIGHTS} is damaged ({first_line(error)})") from None
    return Model(generator, image_size, about, _checked(weights, files[WEIGHTS]), files[WEIGHTS])


def _fetched(name: str) -> dict[str, Path]:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils.logging import set_verbosity_error

    set_verbosity_error()  # hide its line for each retry; the final error is reported below
    try:
        return {file: Path(hf_hub_download(name, file)) for file in (CONFIG, WEIGHTS, SUMS)}
    except (OSError, ValueError) as error:  # no such repository or file, no network, or an invalid name
        raise UserError(
            f"checkpoint {name} is neither a local path nor on the Hugging Face hub ({first_line(error)})"
        ) from None

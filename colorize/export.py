"""Export a trained generator: safetensors, config, model card, checksums, and ONNX."""

import json
import warnings
from collections.abc import Sequence
from dataclasses import replace
from math import isfinite, nan
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from colorize.base.digests import SUMS, sha256
from colorize.base.errors import UserError, missing_extra
from colorize.base.files import replacing_folder, write_json
from colorize.card import model_card, training_facts
from colorize.checkpoint import CARD, CONFIG, ONNX, WEIGHTS, Model, blueprint, load_generator
from colorize.weights import SHIPPED, located

PARITY = 1e-3  # largest allowed difference in normalized ab between ONNX and PyTorch: 0.11 Lab units
# Batch size, and height and width as multiples of the training size
SHAPES = [(1, 1, 1), (3, 1, 1), (1, 2, 1), (2, 1, 2), (1, 3, 2)]


def export(
    checkpoint: str | Path | Sequence[str | Path],
    folder: Path,
    onnx: bool = False,
    half: bool = False,
    calibrate: bool = False,
    gain: float | None = None,
) -> list[tuple[str, float]]:
    """Write a folder that `colorize.inference.colorizer.Colorizer.from_pretrained` and the Hugging Face hub can read.

    Args:
        checkpoint: see `colorize.checkpoint.read_model`. If there are several, the mean of their weights is exported
            (Wortsman et al. 2022, "Model soups"); of their metadata, what all have in common, and in ``mean_of`` what
            differs.
        folder: the folder to create; it appears once all of its files are written.
        onnx: also write ``model.onnx``, for any batch size, height and width.
        half: write matrices and kernels in float16, for half the size; they are loaded as float32.
        calibrate: store the chroma gain found in validation, with which the model then colors, see `calibrated_gain`.
        gain: store this gain.
    Returns:
        With ``onnx``, each compared shape and its largest difference from PyTorch; else empty.
    Raises:
        UserError: if the checkpoint cannot be used, the folder exists, a package is missing, or the results of ONNX
            differ from those of PyTorch.
    """
    if folder.exists():
        raise UserError(f"{folder} exists already; name a new folder with --out")
    if calibrate and gain is not None:
        raise UserError("--calibrate and --gain both set the gain: leave out one")
    checkpoints = [checkpoint] if isinstance(checkpoint, str | Path) else list(checkpoint)
    generator, model = _mean(checkpoints) if len(checkpoints) > 1 else load_generator(checkpoints[0])
    model = replace(model, about=_without_folders(model.about))
    if calibrate:
        gain = _calibrated(checkpoints, model)
    if gain is not None:
        model = replace(model, about=model.about | {"gain": gain})
    parity = []
    with replacing_folder(folder) as temporary:
        weights = {name: value.contiguous() for name, value in generator.state_dict().items()}
        if half:  # not vectors: batch norm statistics can exceed the range of float16
            weights = {name: value.half() if value.ndim > 1 else value for name, value in weights.items()}
            generator.load_state_dict({name: value.float() for name, value in weights.items()})
        (temporary / WEIGHTS).write_bytes(save(weights, metadata={"format": "pt"}))
        config = {"generator": model.generator, "image_size": model.image_size, "about": model.about}
        write_json(temporary / CONFIG, config)
        if onnx:
            _write_onnx(generator, model, temporary / ONNX)
            parity = _compare(generator, model, temporary / ONNX)
        (temporary / CARD).write_text(model_card(model, generator, folder.name, parity))
        listed = [file for file in (WEIGHTS, CONFIG, CARD, ONNX) if (temporary / file).exists()]
        (temporary / SUMS).write_text("".join(f"{sha256(temporary / file)}  {file}\n" for file in listed))
    return parity


def _without_folders(value: Any) -> Any:
    """Replace absolute paths in plain data by their last component, so that local folder names are not published."""
    if isinstance(value, dict):
        return {key: _without_folders(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_folders(part) for part in value]
    if not isinstance(value, str):
        return value
    key, equals, path = value.rpartition("=")  # an override, or a value without a key
    return key + equals + Path(path).name if Path(path).is_absolute() else value


def _mean(checkpoints: Sequence[str | Path]) -> tuple[nn.Module, Model]:
    """Return the generator whose weights are the mean of several, and what is recorded with it."""
    generator, first = load_generator(checkpoints[0])
    models = [first, *(load_generator(checkpoint)[1] for checkpoint in checkpoints[1:])]
    for checkpoint, other in zip(checkpoints, models, strict=True):
        if (other.generator, other.image_size) != (first.generator, first.image_size):
            different = f"{checkpoint} has another generator or image size than {checkpoints[0]}"
            raise UserError(f"{different}: there is no mean of their weights")
    weights = {
        name: torch.stack([model.weights[name] for model in models]).mean(0) if value.is_floating_point() else value
        for name, value in first.weights.items()
    }
    generator.load_state_dict(weights)
    about = _shared([model.about for model in models])
    about = {key: value for key, value in about.items() if key not in ("metrics", "gain")}  # they are not the mean's
    about["mean_of"] = [_rest(model.about, about) for model in models]
    return generator, replace(first, weights=weights, about=about)


def _shared(values: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the entries that nested dicts have in common."""
    found = {}
    for key, value in values[0].items():
        each = [other.get(key) for other in values]
        if all(other == value for other in each):
            found[key] = value
        elif all(isinstance(other, dict) for other in each):
            found[key] = _shared(each)
    return found


def _rest(value: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    """Return the entries of nested dicts that are not in others."""
    found = {}
    for key, own in value.items():
        if key not in shared:
            found[key] = own
        elif own != shared[key]:
            found[key] = _rest(own, shared[key])
    return found


def _calibrated(checkpoints: Sequence[str | Path], model: Model) -> float:
    if len(checkpoints) > 1:
        raise UserError("--calibrate: a mean of checkpoints was not validated; give the gain by --gain")
    gain = model.about.get("metrics", {}).get("val/calibrated_gain", nan)
    if not isfinite(gain):
        raise UserError(
            f"--calibrate: {checkpoints[0]} has no gain from validation: its colors are nearly grey, or it is from an "
            "older version; leave out --calibrate"
        )
    return gain


def _write_onnx(generator: nn.Module, model: Model, path: Path) -> None:
    try:
        import onnx
        import onnxruntime  # noqa: F401  needed by the comparison; report it missing before the export
        import onnxscript  # noqa: F401  needed by torch's exporter
    except ImportError as error:
        raise UserError(missing_extra(f"--onnx needs {error.name}", "onnx")) from None
    factor, dim = generator.factor, torch.export.Dim
    shape = {0: dim("batch"), 2: factor * dim("rows"), 3: factor * dim("columns")}
    size = 2 * model.image_size, 3 * model.image_size
    inputs = {"L": torch.zeros(2, 1, *size)}
    if getattr(generator, "takes_hints", False):
        inputs["hints"] = torch.zeros(2, 3, *size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's exporter warns about itself
        torch.onnx.export(
            generator,
            tuple(inputs.values()),
            path,
            dynamo=True,
            dynamic_shapes=(shape,) * len(inputs),
            input_names=[*inputs],
            output_names=["ab"],
            external_data=False,
            verbose=False,
        )
    file = onnx.load(path)
    metadata = {
        "image_size": model.image_size,
        "factor": factor,
        "generator": model.generator,
        "about": model.about,
    }
    onnx.helper.set_model_props(file, {name: json.dumps(value) for name, value in metadata.items()})
    onnx.save(file, path)


@torch.inference_mode()
def _compare(generator: nn.Module, model: Model, path: Path) -> list[tuple[str, float]]:
    from colorize.inference.onnx import OnnxPredictor

    predictor, draw = OnnxPredictor(path, "cpu"), np.random.default_rng(0)
    found = []
    for batch, rows, columns in SHAPES:
        L = draw.uniform(-1, 1, (batch, 1, rows * model.image_size, columns * model.image_size)).astype(np.float32)
        difference = np.abs(generator(torch.from_numpy(L)).numpy() - predictor(L)).max().item()
        found.append((" x ".join(map(str, L.shape)), difference))
        if not difference <= PARITY:
            where = f"{difference:.2g} at {found[-1][0]}, over {PARITY}"
            raise UserError(f"ONNX differs from PyTorch by {where}: not exported")
    return found


def describe(checkpoint: str) -> dict[str, Any]:
    """Describe a checkpoint: its kind, sha256, training data and settings, metrics and config.

    Args:
        checkpoint: any name that `colorize.inference.predictor.load_predictor` accepts.
    Raises:
        UserError: if it is missing, damaged or not a model of this project.
    """
    path = located(checkpoint)
    if path.suffix == ".onnx":
        from colorize.inference.onnx import OnnxPredictor

        predictor = OnnxPredictor(path, "cpu")
        model, kind = Model(predictor.generator, predictor.image_size, predictor.about, {}), "ONNX export"
        generator = blueprint(model.generator)
    else:
        generator, model = load_generator(checkpoint)
        kind = "training checkpoint" if path.is_file() else "exported folder" if path.is_dir() else "on the hub"
        kind = "of the package" if checkpoint in SHIPPED else kind
    file = path / WEIGHTS if path.is_dir() else path
    parameters = sum(value.numel() for value in generator.parameters())
    return {
        "checkpoint": checkpoint,
        "kind": kind,
        **({"sha256": sha256(file)} if file.is_file() else {}),
        "generator": " ".join(f"{key}={value}" for key, value in model.generator.items()),
        "parameters": parameters,
        "image size": model.image_size,
        **training_facts(model),
        "metrics": model.about.get("metrics", {}),
        "config": model.about.get("provenance", {}).get("config", {}),
    }

"""Read checkpoints: plain data only, and one line for a file that will not do."""

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import nn

from colorize.errors import UserError
from colorize.networks import build_generator


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a training checkpoint on the CPU; the file's weights are mapped, not copied.

    Raises:
        UserError: if the file is missing, damaged, holds more than plain data, or is no checkpoint of this project.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"ckpt_path={path} is no file; name a checkpoint such as RUN/checkpoints/best.ckpt")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError:
        raise UserError(f"ckpt_path={path} is foreign: it holds more than plain data and is not loaded") from None
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise UserError(f"ckpt_path={path} is damaged or no checkpoint ({str(error).splitlines()[0][:120]})") from None
    if not isinstance(checkpoint, dict) or "generator" not in checkpoint.get("hyper_parameters", {}):
        raise UserError(f"ckpt_path={path} is a checkpoint of something else: it names no generator")
    return checkpoint


def load_generator(path: str | Path) -> tuple[nn.Module, dict[str, Any]]:
    """Build a checkpoint's generator in evaluation mode.

    Returns:
        The network on the CPU, and the hyper-parameters it was trained with.
    Raises:
        UserError: as `read_checkpoint`, or if the weights do not fit the network.
    """
    checkpoint = read_checkpoint(path)
    settings = checkpoint["hyper_parameters"]
    prefix = "generator."
    weights = {k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)}
    generator = build_generator(**settings["generator"])
    try:
        generator.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"ckpt_path={path}: {str(error).splitlines()[0]}") from None
    return generator.eval(), settings

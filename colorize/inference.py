"""Colorize photographs with a trained generator."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from colorize.checkpoint import load_generator
from colorize.errors import UserError
from colorize.lab import l_ab_to_rgb, rgb_to_l_ab, to_uint8


class Colorizer:
    """A generator that colours pictures of any size; their lightness stays their own.

    Args:
        generator: ``L`` ``(B, 1, S, S)`` to ``ab`` ``(B, 2, S, S)``, in evaluation mode.
        image_size: S, the size that the generator was trained at.
        device: where it runs.
    """

    def __init__(self, generator: nn.Module, image_size: int, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.generator = generator.to(self.device)
        self.image_size = image_size

    @classmethod
    def from_checkpoint(cls, path: str | Path, device: str = "auto") -> "Colorizer":
        """Load a training checkpoint.

        Args:
            path: such as ``RUN/checkpoints/best.ckpt``.
            device: ``auto`` takes a GPU if there is one; or ``cpu``, ``cuda``, ``mps``.
        Raises:
            UserError: if the file is missing, damaged or foreign, or the device is not here.
        """
        generator, settings = load_generator(path)
        return cls(generator, settings["image_size"], choose_device(device))

    @torch.inference_mode()
    def colorize(self, image: Image.Image) -> Image.Image:
        """Return the image in colour, at its own size.

        The colours are predicted at the training size, stretched as in training, and brought up bilinearly.

        Args:
            image: any mode; its own colours, if any, are not looked at.
        """
        rgb = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None]  # (1, 3, H, W)
        L, _ = rgb_to_l_ab(rgb.to(self.device).float() / 255)
        size = (self.image_size, self.image_size)
        small = F.interpolate(L, size, mode="bicubic", antialias=True).clamp(-1, 1)
        ab: Tensor = self.generator(small).float()
        ab = F.interpolate(ab, L.shape[-2:], mode="bilinear", antialias=True)
        colored = to_uint8(l_ab_to_rgb(L, ab))[0].permute(1, 2, 0)  # (H, W, 3)
        return Image.fromarray(colored.cpu().numpy())


def choose_device(asked: str) -> torch.device:
    """Return the device of that name; ``auto`` takes the best that is here.

    Raises:
        UserError: if it is not here.
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
            f"device={asked} is not here; use one of auto, {', '.join(n for n, there in here.items() if there)}"
        )
    return torch.device(asked)

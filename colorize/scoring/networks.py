"""Score pictures with networks whose weights are available, and encode features for the per-image tables."""

import base64
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from colorize.metrics.judge import Judge, judge_missing
from colorize.metrics.perceptual import INCEPTION, PerceptualNetworks

LITE2, INCEPTION_FEATURES, CLASS = "lite2", "inception", "class"  # keys of a line
SETS = {INCEPTION_FEATURES: "", LITE2: "_lite2"}  # suffix of the distances on these features


class Networks:
    """EfficientNet-Lite2 and the networks of FID, KID and LPIPS.

    Args:
        weights_dir: Folder of weights, see `PerceptualNetworks`.
        device: Device that the networks run on.
        judge: Whether to use EfficientNet-Lite2.
    Attributes:
        names: Names of the available networks.
        missing: One line for each unavailable network.
    """

    def __init__(self, weights_dir: Path | None, device: torch.device | str, judge: bool = True) -> None:
        self.device = torch.device(device)
        self._perceptual = PerceptualNetworks(weights_dir, device)
        self.missing = [line for lines in self._perceptual.absent.values() for line in lines]
        self._judge: Judge | None = None
        without = judge_missing() if judge else None
        if judge and not without:
            self._judge = Judge().to(self.device)
        if without:
            self.missing.append(without)
        self.names = [*(name for name in self._perceptual.present), *([LITE2] if self._judge else [])]

    def look_at(self, outputs: Tensor, targets: Tensor) -> list[dict[str, Any]]:
        """Compute network scores of pictures of the same size.

        Args:
            outputs: Pictures of a method, ``(B, 3, H, W)`` uint8.
            targets: True pictures, ``(B, 3, H, W)`` uint8.
        Returns:
            For each picture the entries of its line: features, encoded by `packed`; the class; LPIPS.
        """
        found: list[dict[str, Any]] = [{} for _ in outputs]
        for name in self._perceptual.present:
            if name == INCEPTION:
                values = map(packed, self._perceptual.features(outputs))
                _add(found, INCEPTION_FEATURES, values)
            else:
                _add(found, name, self._perceptual.lpips(name, outputs, targets).tolist())
        if self._judge is not None:
            verdict = self._judge(outputs.to(self.device))
            _add(found, LITE2, map(packed, verdict.features))
            _add(found, CLASS, verdict.classes.tolist())
        return found


def packed(features: Tensor) -> str:
    """Encode features as little-endian float32 in base64."""
    return base64.b64encode(features.numpy().astype("<f4").tobytes()).decode()


def unpacked(text: str) -> np.ndarray:
    """Decode features encoded by `packed`, ``(F,)`` float32."""
    return np.frombuffer(base64.b64decode(text), "<f4")


def _add(lines: list[dict[str, Any]], key: str, values: Iterable[Any]) -> None:
    for line, value in zip(lines, values, strict=True):
        line[key] = value

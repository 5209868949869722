"""What colors the photographs: a checkpoint, as it colors by default, or pictures that another program has colored."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from colorize.base.errors import UserError
from colorize.bias.things import SIDE, Photograph
from colorize.experiments.held_out import trained_on
from colorize.images import ImageError, read_rgb, readable
from colorize.inference import Colorizer
from colorize.inference.predictor import load_predictor

STORES = Path("data/stores")
BATCH = 8  # photographs that the network sees at once


class Method(Protocol):
    """Colors photographs.

    Attributes:
        name: of its results.
        trained_on: pictures, see `colorize.data.decode.digest_of_picture`; empty if they are not known.
        notes: what the reader must know, a line each.
    """

    name: str
    trained_on: set[str]
    notes: list[str]

    def has(self, photograph: Photograph) -> bool:
        """Tell whether it can color a photograph."""

    def __call__(self, photographs: Sequence[Photograph]) -> list[np.ndarray]:
        """Return each in color, ``(SIDE, SIDE, 3)`` uint8; only its ab counts."""


class Checkpoint:
    """A trained model; photographs are square already, so it sees them as training did, at its own size.

    Args:
        name: see `colorize.inference.predictor.load_predictor`.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        store_dirs: folders of image stores, which know what was trained on, beside that of its own training.
    Raises:
        UserError: as `load_predictor`.
    """

    def __init__(self, name: str, device: str = "auto", store_dirs: Iterable[Path] = (STORES,)) -> None:
        self.name = name
        self.colorizer = Colorizer(load_predictor(name, device), BATCH)
        about = self.colorizer.predictor.about
        own = about.get("provenance", {}).get("config", {}).get("data", {}).get("store_dir")
        known, why = trained_on(about, {*store_dirs, *([Path(own)] if own else [])})
        self.trained_on: set[str] = known or set()
        self.notes = [f"{name} {self.colorizer.caution}"] if self.colorizer.caution else []
        if known is None:
            self.notes.append(f"which photographs {name} was trained on is not known ({why}): some may be among these")

    def has(self, photograph: Photograph) -> bool:
        """Return true."""
        return True

    def __call__(self, photographs: Sequence[Photograph]) -> list[np.ndarray]:
        """Color; see `Method`."""
        return self.colorizer.colorize_batch([each.rgb for each in photographs], fit="stretch", tint="keep")


class Pictures:
    """Pictures in a folder and below, named as their photographs are, whatever their extension.

    Args:
        folder: of any size each; they are stretched.
    Raises:
        UserError: if there is none, or two have one name.
    """

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        self.trained_on: set[str] = set()
        self.notes = [f"which photographs {folder} was trained on is not known: some may be among these"]
        self.paths: dict[str, Path] = {}
        for path in (Path(parent) / name for parent, _, names in os.walk(folder) for name in names):
            if path.suffix.lower() in readable() and self.paths.setdefault(path.stem, path) != path:
                raise UserError(f"{path} and {self.paths[path.stem]} are both pictures of {path.stem}: keep one")
        if not self.paths:
            raise UserError(f"--pictures {folder} holds no picture")

    def has(self, photograph: Photograph) -> bool:
        """Tell whether there is a picture of that name."""
        return Path(photograph.file).stem in self.paths

    def __call__(self, photographs: Sequence[Photograph]) -> list[np.ndarray]:
        """Read; see `Method`.

        Raises:
            UserError: if one is damaged.
        """
        return [self._read(self.paths[Path(photograph.file).stem]) for photograph in photographs]

    def _read(self, path: Path) -> np.ndarray:
        try:
            return np.array(read_rgb(path).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
        except ImageError as error:
            raise UserError(f"{error}; without it, its photograph is left out") from error

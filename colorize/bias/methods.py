"""Methods that colorize photographs: a checkpoint with default options, or the results of another program."""

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np
from PIL import Image

from colorize.base.errors import UserError
from colorize.bias.things import SIDE, Photograph
from colorize.experiments.held_out import trained_on
from colorize.images import ImageError, read_rgb
from colorize.inference import Colorizer
from colorize.inference.predictor import load_predictor
from colorize.scoring.matching import listed, matched, name_of

STORES = Path("data/stores")
BATCH = 8  # photographs per forward pass


class Method(Protocol):
    """Interface of methods that colorize photographs.

    Attributes:
        name: Name in the results.
        trained_on: Digests of the training pictures, see `colorize.data.decode.digest_of_picture`; empty if unknown.
        notes: One line for each caveat.
    """

    name: str
    trained_on: set[str]
    notes: list[str]

    def has(self, photograph: Photograph) -> bool:
        """Return whether the method can colorize a photograph."""

    def __call__(self, photographs: Sequence[Photograph]) -> list[np.ndarray]:
        """Return colorized photographs, each ``(SIDE, SIDE, 3)`` uint8; only their ab is used."""


class Checkpoint:
    """A trained model.

    Photographs are square, as in training. The model sees them at its own image size.

    Args:
        name: Model, see `colorize.inference.predictor.load_predictor`.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        store_dirs: Folders of image stores that are searched for training pictures, in addition to the folder that
            the model was trained with.
    Raises:
        UserError: If the model cannot be loaded, see `load_predictor`.
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
            self.notes.append(f"the training photographs of {name} are unknown ({why}): some may be among these")

    def has(self, photograph: Photograph) -> bool:
        """Return true."""
        return True

    def __call__(self, photographs: Sequence[Photograph]) -> list[np.ndarray]:
        """Colorize photographs; see `Method`."""
        return self.colorizer.colorize_batch([each.rgb for each in photographs], fit="stretch", tint="keep")


class Pictures:
    """Pictures in a folder and its subfolders, matched with photographs by name, see `colorize.scoring.matching`.

    Args:
        folder: Pictures of any size; they are resized to ``SIDE`` pixels.
        photographs: File names of the photographs.
        out: Folder of the results, which is not searched.
    Raises:
        UserError: If no picture has the name of a photograph.
    """

    def __init__(self, folder: Path, photographs: Iterable[str], out: Path) -> None:
        self.name = str(folder)
        self.trained_on: set[str] = set()
        found = matched(map(_named, photographs), listed(folder, out))
        self.paths = found.files
        self.notes = [
            f"the training photographs of {folder} are unknown: some may be among these",
            *found.notes,
            *(f"left out: {', '.join(map(str, paths))} have the same name" for paths in found.doubled.values()),
        ]

    def has(self, photograph: Photograph) -> bool:
        """Return whether there is a picture with the name of the photograph."""
        return _named(photograph.file) in self.paths

    def __call__(self, photographs: Sequence[Photograph]) -> list[np.ndarray]:
        """Read the pictures of photographs; see `Method`.

        Raises:
            UserError: If a picture is damaged.
        """
        return [self._read(self.paths[_named(photograph.file)]) for photograph in photographs]

    def _read(self, path: Path) -> np.ndarray:
        try:
            return np.array(read_rgb(path).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
        except ImageError as error:
            raise UserError(f"{error}; remove it to exclude its photograph") from error


def _named(file: str) -> str:
    return name_of(PurePosixPath(file))

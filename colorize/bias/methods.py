"""What colors the photographs: checkpoints, as they color by default, and what they were trained on."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from colorize.bias.things import Photograph
from colorize.held_out import trained_on
from colorize.inference import Colorizer
from colorize.predictors import load_predictor

STORES = Path("data/stores")
BATCH = 8  # photographs that the network sees at once


class Checkpoint:
    """A trained model; photographs are square already, so it sees them as training did, at its own size.

    Args:
        name: see `colorize.predictors.load_predictor`.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        store_dirs: folders of image stores, which know what was trained on, beside that of its own training.
    Attributes:
        trained_on: pictures, see `colorize.data.decode.picture_digest`; empty if they are not known.
        notes: what the reader must know, a line each.
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

    def __call__(self, photographs: Sequence[Photograph]) -> list[np.ndarray]:
        """Return each in color, ``(SIDE, SIDE, 3)`` uint8; their lightness stays."""
        return self.colorizer.colorize_batch([each.rgb for each in photographs], fit="stretch", tint="keep")

"""Colorize a folder like the command, with a formula instead of a network, and print the result as JSON.

python -m benchmarks.color_folder FOLDER OUT
"""

import json
import sys
from pathlib import Path
from types import MappingProxyType

import numpy as np

from colorize.inference import Colorizer, Options
from colorize.inference.inputs import collect
from colorize.inference.many import BulkColorizer


class Formula:
    """Predicts from lightness, without weights; see `colorize.inference.predictor.Predictor`."""

    image_size, factor, about = 32, 32, MappingProxyType({})

    def __call__(self, L: np.ndarray) -> np.ndarray:
        """Predict; see `Predictor`."""
        return np.concatenate([L / 4, -L / 8], axis=1)


def main() -> None:
    """Color and print what was written and what was said."""
    folder, out = map(Path, sys.argv[1:])
    found = collect([folder], out)
    said = [*found.complaints, *found.skipped]
    tally = BulkColorizer(Colorizer(Formula()), Options(tint="keep"), out, say=said.append).run(found.jobs)
    print(json.dumps({"written": {str(key): str(value) for key, value in tally.written.items()}, "said": said}))


if __name__ == "__main__":
    sys.exit(main())

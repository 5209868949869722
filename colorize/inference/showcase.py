"""Color photographs of scikit-image with the shipped model: ``python -m colorize.inference.showcase PICTURE``.

They are in the public domain or CC0, and no model here was trained on them.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from colorize.base.errors import UserError
from colorize.base.files import replacing
from colorize.grids import picture_grid
from colorize.inference.colorizer import Colorizer

SIDE = 240  # pixels of a picture in the sheet
# Those whose terms scikit-image tells: of NASA and SpaceX, in the public domain; the other two are CC0
CAPTIONS = {
    "rocket": "SpaceX, public domain",
    "chelsea": "scikit-image, CC0",
    "coffee": "Pikolo Espresso Bar, CC0",
    "astronaut": "NASA, public domain",
}


def sheet(colorizer: Colorizer) -> Image.Image:
    """Return a picture with a column for each photograph, and below each other grey, colored and real.

    Raises:
        UserError: if scikit-image is missing.
    """
    try:
        from skimage import data
    except ImportError:
        raise UserError("the photographs are scikit-image's: make setup installs it") from None
    columns = {}
    for name, caption in CAPTIONS.items():
        real = Image.fromarray(getattr(data, name)())
        grey = real.convert("L")
        versions = (image.convert("RGB") for image in (grey, colorizer.colorize(grey), real))
        squares = [np.asarray(ImageOps.fit(image, (SIDE, SIDE), Image.Resampling.LANCZOS)) for image in versions]
        columns[caption] = torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2)
    return picture_grid(columns)


def main(target: Path) -> None:
    """Write the picture and name it."""
    with replacing(target) as temporary:
        sheet(Colorizer.from_pretrained()).save(temporary, quality=90)
    print(f"photographs, grey, colored and real: {target}")
    print("next, with a photograph of yours: .venv/bin/colorize image photo.jpg")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Color scikit-image's sample photographs with the shipped model: ``python -m colorize.inference.showcase PICTURE``.

They are in the public domain or CC0, and the shipped model was not trained on them.
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

SIDE = 240  # side of each picture in pixels
# Only photographs whose license scikit-image states
CAPTIONS = {
    "rocket": "SpaceX, public domain",
    "chelsea": "scikit-image, CC0",
    "coffee": "Pikolo Espresso Bar, CC0",
    "astronaut": "NASA, public domain",
}


def sheet(colorizer: Colorizer) -> Image.Image:
    """Return a picture with a column for each photograph: grey, colored and real, from top to bottom.

    Raises:
        UserError: if scikit-image is missing.
    """
    try:
        from skimage import data
    except ImportError:
        raise UserError("the photographs come with scikit-image: make setup installs it") from None
    columns = {}
    for name, caption in CAPTIONS.items():
        real = Image.fromarray(getattr(data, name)())
        grey = real.convert("L")
        versions = (image.convert("RGB") for image in (grey, colorizer.colorize(grey), real))
        squares = [np.asarray(ImageOps.fit(image, (SIDE, SIDE), Image.Resampling.LANCZOS)) for image in versions]
        columns[caption] = torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2)
    return picture_grid(columns)


def main(target: Path) -> None:
    """Write the picture and print its path."""
    with replacing(target) as temporary:
        sheet(Colorizer.from_pretrained()).save(temporary, quality=90)
    print(f"photographs, grey, colored and real: {target}")
    print("next, with your own photograph: .venv/bin/colorize image photo.jpg")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

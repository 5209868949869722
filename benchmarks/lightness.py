"""Measure the change of lightness: photographs are converted to gray and colorized, and L* is compared.

python -m benchmarks.lightness --images FOLDER --checkpoint CHECKPOINT
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from skimage.color import rgb2lab

from benchmarks import harness
from colorize.images import read_rgb
from colorize.inference import Colorizer, Options
from colorize.inference.inputs import collect
from colorize.inference.pytorch import TorchPredictor
from colorize.networks import build_generator
from colorize.photos.photo import FORMATS, Photo, photo_of, save_photo
from colorize.scenes.dataset import draw_scene

LIGHTNESS = rgb2lab(np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2))[0, :, 0]  # of a grey level


def largest_rounding() -> float:
    """Return half the largest step of L* between two grey levels: what rounding all channels alike can do."""
    return float(np.diff(LIGHTNESS).max() / 2)


def grey_of(image: Image.Image) -> Image.Image:
    """Make it grey, without its color profile, which would give the grey levels another lightness."""
    return Image.fromarray(np.asarray(image.convert("L")))


class Losses:
    """What formats do to lightness, by an independent implementation of L*: in columns of a table."""

    def __init__(self) -> None:
        self.largest, self.total, self.pixels, self.rare, self.bytes = 0.0, 0.0, 0, [], 0

    def add(self, file: Path, L: np.ndarray) -> None:
        """Count in how far a file's L* is from what it should be, ``(H, W)``."""
        with Image.open(file) as saved:
            change = np.abs(rgb2lab(np.asarray(saved.convert("RGB")))[..., 0] - L)
        self.largest, self.total = max(self.largest, float(change.max())), self.total + float(change.sum())
        self.pixels, self.bytes = self.pixels + change.size, self.bytes + file.stat().st_size
        self.rare.append(np.quantile(change, 0.999))

    def row(self, name: str) -> dict[str, float | str]:
        """Return a row of the table."""
        return {
            "file": name,
            "mean |dL*|": self.total / self.pixels,
            "1 pixel in 1,000 beyond": float(np.mean(self.rare)),
            "largest |dL*|": self.largest,
            "bytes a pixel": self.bytes / self.pixels,
        }


def by_format(colorizer: Colorizer, pictures: list, batch: int) -> list[dict[str, float | str]]:
    """Save pictures colored, as `colorize image` does, and the same grey by the format itself, at quality 95."""
    losses = {name: (Losses(), Losses()) for name in FORMATS}
    with tempfile.TemporaryDirectory() as folder:
        for start in range(0, len(pictures), batch):
            greys = [picture() for picture in pictures[start : start + batch]]
            photos = [photo_of(grey) for grey in greys]
            for grey, (picture, _) in zip(greys, colorizer.colorize_photos(photos, Options()), strict=True):
                L = LIGHTNESS[np.asarray(grey)]
                for name, (colored, alone) in losses.items():
                    endings, settings = FORMATS[name]
                    file = Path(folder) / f"x{endings[0]}"
                    metadata = settings | ({"lossless": False} if name == "WEBP" else {})
                    save_photo(Photo(photo_of(grey).pixels, format=name, metadata=metadata), picture, file)
                    colored.add(file, L)
                    grey.save(file, name, **({"quality": 95} if "quality" in settings else {}))
                    alone.add(file, L)
    return [
        loss.row(f"{name}, {what}")
        for name, pair in losses.items()
        for what, loss in zip(("colored", "grey at 95"), pair, strict=True)
    ]


def main() -> None:
    """Measure and print."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--images", nargs="+", help="folders of photographs; without them generated scenes")
    parser.add_argument("--checkpoint", help="what colors; without it random weights")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--formats", type=int, default=100, help="pictures that are saved in each format")
    args = parser.parse_args()
    if args.images:
        paths = [job.source for folder in args.images for job in collect([folder], Path("none")).jobs]
        pictures = [(lambda path=path: grey_of(read_rgb(path))) for path in paths]
    else:
        scenes = range(2 if args.quick else 200)
        pictures = [(lambda n=n: grey_of(Image.fromarray(draw_scene(0, n, 256).rgb))) for n in scenes]
    if args.checkpoint:
        colorizer = Colorizer.from_checkpoint(args.checkpoint, batch_size=args.batch)
    else:
        colorizer = Colorizer(TorchPredictor(build_generator("unet", num_filters=8).eval(), 256), args.batch)
    rows = []
    for strength in (1.0, 1.5):
        largest, total, beyond, limited, pixels, chroma = 0.0, 0.0, 0, 0, 0, 0.0
        for start in range(0, len(pictures), args.batch):
            greys = [picture() for picture in pictures[start : start + args.batch]]
            photos = [photo_of(grey) for grey in greys]
            for grey, (colored, lost) in zip(
                greys, colorizer.colorize_photos(photos, Options(strength=strength)), strict=True
            ):
                lab = rgb2lab(np.asarray(colored))
                change = np.abs(lab[..., 0] - LIGHTNESS[np.asarray(grey)])
                largest, total = max(largest, float(change.max())), total + float(change.sum())
                beyond += int((change > largest_rounding()).sum())
                chroma += float(np.hypot(lab[..., 1], lab[..., 2]).sum())
                limited, pixels = limited + lost, pixels + change.size
        rows.append(
            {
                "strength": strength,
                "pictures": len(pictures),
                "megapixels": pixels / 1e6,
                "largest |dL*|": largest,
                "mean |dL*|": total / pixels,
                f"pixels beyond rounding ({largest_rounding():.3f})": beyond,
                "pixels limited by the gamut": f"{limited / pixels:.3%}",
                "mean chroma of the result": chroma / pixels,
            }
        )
    report = harness.Report("lightness")
    report.table(f"Lightness of grey pictures and of their colored versions, {args.checkpoint}", rows)
    some = pictures[:: -(-len(pictures) // args.formats)]
    report.table(
        f"Lightness of {len(some)} grey pictures and of the files of their colored versions",
        by_format(colorizer, some, args.batch),
    )


if __name__ == "__main__":
    sys.exit(main())

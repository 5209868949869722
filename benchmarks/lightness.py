"""Whether lightness stays: photographs made grey and coloured; how far the result's L* is from theirs.

python -m benchmarks.lightness --images FOLDER --checkpoint CHECKPOINT
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from skimage.color import rgb2lab

from benchmarks import harness
from colorize.data.scenes import draw_scene
from colorize.images import read_rgb
from colorize.inference import Colorizer, Options
from colorize.inputs import collect
from colorize.networks import build_generator
from colorize.photos import photo_of
from colorize.predictors.pytorch import TorchPredictor

LIGHTNESS = rgb2lab(np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2))[0, :, 0]  # of a grey level


def largest_rounding() -> float:
    """Return half the largest step of L* between two grey levels: what rounding all channels alike can do."""
    return float(np.diff(LIGHTNESS).max() / 2)


def grey_of(image: Image.Image) -> Image.Image:
    """Make it grey, without its colour profile, which would give the grey levels another lightness."""
    return Image.fromarray(np.asarray(image.convert("L")))


def main() -> None:
    """Measure and print."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--images", nargs="+", help="folders of photographs; without them generated scenes")
    parser.add_argument("--checkpoint", help="what colours; without it random weights")
    parser.add_argument("--batch", type=int, default=16)
    args = parser.parse_args()
    if args.images:
        paths = [job.source for folder in args.images for job in collect([folder], Path("none"))[0]]
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
    harness.Report("lightness").table(
        f"Lightness of grey pictures and of their coloured versions, {args.checkpoint}", rows
    )


if __name__ == "__main__":
    sys.exit(main())

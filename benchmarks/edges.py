"""Measure color bleeding across edges: true chroma reduced to 256x256 and upsampled by several methods.

python -m benchmarks.edges --images FOLDER
"""

import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from kornia.filters import guided_blur, joint_bilateral_blur
from PIL import Image
from scipy.ndimage import distance_transform_edt, gaussian_gradient_magnitude
from skimage.color import rgb2lab

from benchmarks import harness
from colorize.images import read_rgb
from colorize.inference.inputs import collect
from colorize.scenes.dataset import draw_scene
from colorize.upsampling import GuidedUpsampler

EDGE = 6.0  # L* a pixel, of the gradient at a scale of one pixel: above it is an edge
NEAR = 4  # pixels from an edge
Planes = tuple[np.ndarray, np.ndarray, np.ndarray]  # small L (h, w), small ab (2, h, w), full L (H, W)


def enlarged(small: np.ndarray, L: np.ndarray, method: Image.Resampling) -> np.ndarray:
    """Bring ab ``(2, h, w)`` to the size of L."""
    size = L.shape[1], L.shape[0]
    return np.stack([np.asarray(Image.fromarray(plane).resize(size, method)) for plane in small])


def with_kornia(small_L: np.ndarray, small: np.ndarray, L: np.ndarray, blur: str) -> np.ndarray:
    """Let one of Kornia's edge-aware filters follow bilinear interpolation."""
    ab = torch.from_numpy(enlarged(small, L, Image.Resampling.BILINEAR))[None]
    guide = torch.from_numpy(L)[None, None]
    if blur == "guided":
        return guided_blur(guide / 100, ab, 5, 1e-4)[0].numpy()
    return joint_bilateral_blur(ab, guide, 5, 8.0, (2.0, 2.0))[0].numpy()


METHODS = {
    "nearest": lambda small_L, small, L: enlarged(small, L, Image.Resampling.NEAREST),
    "bilinear": lambda small_L, small, L: enlarged(small, L, Image.Resampling.BILINEAR),
    "bicubic": lambda small_L, small, L: enlarged(small, L, Image.Resampling.BICUBIC),
    "bilinear, then Kornia's guided_blur": lambda *planes: with_kornia(*planes, "guided"),
    "bilinear, then Kornia's joint_bilateral_blur": lambda *planes: with_kornia(*planes, "bilateral"),
    "GuidedUpsampler (ours)": lambda small_L, small, L: np.stack(
        GuidedUpsampler(small_L, small, (L.shape[1], L.shape[0])).block((0, 0, L.shape[1], L.shape[0]), L)
    ),
}


def main() -> None:
    """Measure and print."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--images", help="folder of photographs; without it generated scenes")
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 128, 64], help="of the small chroma")
    args = parser.parse_args()
    if args.images:
        paths = [job.source for job in collect([args.images], Path("none"))[0]]
        pictures = [(lambda path=path: np.asarray(read_rgb(path))) for path in paths]
    else:
        pictures = [(lambda number=number: draw_scene(0, number, 512).rgb) for number in range(2 if args.quick else 50)]
    report = harness.Report("edges")
    for size in args.sizes[:1] if args.quick else args.sizes:
        near, everywhere, seconds = defaultdict(list), defaultdict(list), defaultdict(float)
        megapixels, shares = 0.0, []
        for picture in pictures:
            lab = np.moveaxis(rgb2lab(picture()), -1, 0).astype(np.float32)
            small = np.stack(
                [np.asarray(Image.fromarray(p).resize((size, size), Image.Resampling.BICUBIC)) for p in lab]
            )
            edges = gaussian_gradient_magnitude(lab[0], 1.0) > EDGE
            band = distance_transform_edt(~edges) <= NEAR if edges.any() else edges
            shares.append(band.mean())
            megapixels += edges.size / 1e6
            for name, method in METHODS.items():
                start = time.perf_counter()
                ab = method(small[0], small[1:], lab[0])
                seconds[name] += time.perf_counter() - start
                error = np.abs(ab - lab[1:]).mean(axis=0)
                everywhere[name].append(error.mean())
                if band.any():
                    near[name].append(error[band].mean())
        report.table(
            f"Mean absolute error of a and b (Lab units) of {len(pictures)} pictures at full size, from chroma of "
            f"{size}x{size}; within {NEAR} pixels of an edge lie {np.mean(shares):.0%} of the pixels",
            [
                {
                    "way": name,
                    "near edges": float(np.mean(near[name])) if near[name] else float("nan"),
                    "of nearest": float(np.mean(near[name]) / np.mean(near["nearest"])) if near[name] else float("nan"),
                    "everywhere": float(np.mean(everywhere[name])),
                    "s a megapixel": seconds[name] / megapixels,
                }
                for name in METHODS
            ],
        )


if __name__ == "__main__":
    sys.exit(main())

"""How much color spills across the borders of things, and how wrong it is over large areas.

Photographs of a COCO-layout folder whose things have outlines are stretched to 256x256 and colored by default, with the
gain of the export. Spill is the jump of chroma across outlines over the truth's: 1 keeps colors apart as the truth
does, 0 not at all. In brackets the 95% bootstrap interval over photographs.

python -m benchmarks.spill --root FOLDER                                      # the model of the package
python -m benchmarks.spill --root FOLDER --checkpoint photographs A.ckpt
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from pycocotools import mask as masks
from torch import Tensor

from benchmarks import harness
from colorize.checkpoint import load_generator
from colorize.data.scenes import draw_scene
from colorize.data.sources import CocoSource
from colorize.lab import rgb_to_l_ab
from colorize.metrics.regions import blob_energy, border_jump
from colorize.weights import DEFAULT

SIDE = 256
LEAST = 400  # pixels, of things that count: smaller ones are hardly wider than the band
RESAMPLES = 2000

Photograph = tuple[Image.Image, list[np.ndarray]]  # and masks (H, W) of its things


def annotated(root: str) -> list[Photograph]:
    """Read the photographs that have outlines of single things."""
    source = CocoSource(root, download=False)
    index = json.loads(source.index.read_text())
    sizes = {entry["id"]: (entry["height"], entry["width"]) for entry in index["images"]}
    things: dict[int, list[np.ndarray]] = {}
    for entry in index["annotations"]:
        if not entry.get("iscrowd") and isinstance(entry["segmentation"], list):
            outlines = masks.frPyObjects(entry["segmentation"], *sizes[entry["image_id"]])
            things.setdefault(entry["image_id"], []).append(masks.decode(masks.merge(outlines)).astype(bool))
    paths = {candidate.id: candidate.path for candidate in source.candidates() if candidate.path.exists()}
    return [
        (Image.open(paths[image]).convert("RGB"), things[image]) for image in sorted(things) if paths[image].exists()
    ]


def drawn(count: int) -> list[Photograph]:
    """Draw scenes, and take what is darker than the mean for things: to see that it runs."""
    scenes = [Image.fromarray(draw_scene(0, number, 64).rgb) for number in range(count)]
    return [(scene, [np.asarray(scene.convert("L")) < np.asarray(scene.convert("L")).mean()]) for scene in scenes]


@torch.inference_mode()
def measure(checkpoint: str, photographs: list[Photograph]) -> Tensor:
    """Return of each photograph: sums of jumps over its things, of the output and the truth, and `blob_energy`."""
    generator, model = load_generator(checkpoint)
    gain = model.about.get("gain", 1.0)
    rows = []
    for image, things in photographs:
        pixels = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
        L, true = rgb_to_l_ab(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None] / 255)
        ab = gain * generator(L)
        jumps = torch.zeros(2)
        for thing in things:
            mask = np.asarray(Image.fromarray(thing).resize((SIDE, SIDE), Image.Resampling.NEAREST))
            if LEAST <= mask.sum() <= mask.size - LEAST:
                outline = torch.from_numpy(mask.copy())
                jumps += torch.stack([border_jump(chroma[0], outline) for chroma in (ab, true)])
        rows.append(torch.cat([jumps, *blob_energy(ab, true)]))
    return torch.stack(rows)


def ratio(above: Tensor, below: Tensor, seed: int = 0) -> str:
    """Return the ratio of two sums over photographs with its bootstrap interval."""
    draws = torch.randint(len(above), (RESAMPLES, len(above)), generator=torch.Generator().manual_seed(seed))
    low, high = (above[draws].sum(1) / below[draws].sum(1)).quantile(torch.tensor([0.025, 0.975])).tolist()
    return f"{(above.sum() / below.sum()).item():.3f} [{low:.3f}, {high:.3f}]"


def main() -> None:
    """Measure and print."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--root", type=Path, help="COCO-layout folder; without it drawn scenes")
    parser.add_argument("--checkpoint", nargs="+", default=[DEFAULT])
    args = parser.parse_args()
    photographs = annotated(str(args.root)) if args.root else drawn(2 if args.quick else 20)
    rows = []
    for checkpoint in args.checkpoint:
        jump, true_jump, error, grey = measure(checkpoint, photographs).unbind(1)
        found = {"jump over the truth's": ratio(jump, true_jump), "blob energy": ratio(error, grey)}
        rows.append({"checkpoint": checkpoint} | found)
    things = sum(len(each) for _, each in photographs)
    harness.Report("spill").table(f"{len(photographs)} photographs with {things} things, at {SIDE}x{SIDE}", rows)


if __name__ == "__main__":
    sys.exit(main())

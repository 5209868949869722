"""Measure the loss of color on degraded photographs: held-out images with each damage alone and all together.

The damage is implemented independently of the augmentation in training (`colorize.data.augment`), in NumPy and Pillow
with different formulas: film integrates light, prints fade in density, grain has a size, hairs are curved.

python -m benchmarks.old_photos --checkpoint A.ckpt B.ckpt                    # on validation images of A's own data
python -m benchmarks.old_photos --checkpoint A.ckpt --images FOLDER           # on a fifth of a folder
"""

import io
import sys
from collections.abc import Callable

import numpy as np
import torch
from omegaconf import OmegaConf
from PIL import Image, ImageDraw, ImageFilter
from skimage.color import lab2rgb, rgb2lab

from benchmarks import harness
from colorize.base.seeds import seed_for
from colorize.checkpoint import read_model
from colorize.data import ColorizationDataModule
from colorize.experiments.held_out import data_options, hold_out
from colorize.inference import Colorizer, Options
from colorize.inference.painting import ArrayPicture
from colorize.inference.pytorch import TorchPredictor
from colorize.inference.tint import untinted
from colorize.lab import rgb_to_l_ab
from colorize.metrics.scores import ImageScores
from colorize.networks import build_generator
from colorize.scenes.dataset import draw_scene
from colorize.srgb import AB_SCALE

SEPIA = np.array([[0.393, 0.769, 0.189], [0.349, 0.686, 0.168], [0.272, 0.534, 0.131]])  # W3C, Filter Effects, sepia()
Damage = Callable[[np.ndarray, np.random.Generator], np.ndarray]  # of (H, W, 3) uint8


def neutral(rgb: np.ndarray) -> np.ndarray:
    """Return the greys of the same L*."""
    lab = rgb2lab(rgb) * [1, 0, 0]
    return _rounded(255 * lab2rgb(lab))


def orthochromatic(rgb: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Photograph on film blind to red: light of green and blue adds up, green by 25% (daylight) to 60% (lamps)."""
    green = draw.uniform(0.25, 0.6)
    exposure = _light(rgb) @ [0, green, 1 - green]
    return np.repeat(_encoded(exposure)[..., None], 3, axis=2)


def blurred(rgb: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Put the lens out of focus, by a square of 2 to 4 pixels."""
    return np.asarray(Image.fromarray(rgb).filter(ImageFilter.BoxBlur(draw.uniform(0.5, 1.5))))


def grained(rgb: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Add grain of 1 to 2 pixels, strongest in the middle tones, of 4 to 12 levels there."""
    height, width = rgb.shape[:2]
    size = draw.uniform(1, 2)
    coarse = draw.normal(size=(round(height / size), round(width / size))).astype(np.float32)
    grain = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    strength = draw.uniform(4, 12) * np.sqrt(4 * rgb / 255 * (1 - rgb / 255))
    return _rounded(rgb + strength * (grain / grain.std())[..., None])


def faded(rgb: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Fade a print: its paper darkens to a density of 0.05 to 0.2, its silver keeps 40% to 80%, less at the edges."""
    height, width = rgb.shape[:2]
    rows, columns = np.abs(np.linspace(-1, 1, height))[:, None], np.abs(np.linspace(-1, 1, width))
    edge = np.maximum(rows, columns)[..., None] ** 4
    kept = draw.uniform(0.4, 0.8) * (1 - draw.uniform(0, 0.3) * edge)
    density = -np.log10(np.maximum(_light(rgb), 0.01))
    return _encoded(10 ** -(draw.uniform(0.05, 0.2) + kept * density))


def toned(rgb: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Tone in sepia, by half or more, as browsers do."""
    share = draw.uniform(0.5, 1)
    return _rounded((1 - share) * rgb + share * (rgb @ SEPIA.T))


def scratched(rgb: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Draw up to 4 scratches, 2 bent hairs and 20 specks of dust, light or dark."""
    image = Image.fromarray(rgb)
    height, width = rgb.shape[:2]
    pen = ImageDraw.Draw(image)

    def ink() -> tuple[int, ...]:
        return (int(draw.choice([draw.integers(0, 60), draw.integers(190, 256)])),) * 3

    for _ in range(draw.integers(1, 5)):
        x, start, end = draw.uniform(0, width), *np.sort(draw.uniform(0, height, 2))
        pen.line([(x, start), (x + draw.normal(0, 4), end)], ink(), int(draw.integers(1, 3)))
    for _ in range(draw.integers(0, 3)):
        x, y, size = draw.uniform(0, width), draw.uniform(0, height), draw.uniform(8, 40)
        start = draw.uniform(0, 360)
        pen.arc([x, y, x + size, y + size], start, start + draw.uniform(40, 150), ink())
    for _ in range(draw.integers(5, 21)):
        x, y, wide, high = draw.uniform(0, width), draw.uniform(0, height), *draw.uniform(0.5, 4, 2)
        pen.ellipse([x, y, x + wide, y + high], ink())
    return np.asarray(image)


def compressed(rgb: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Save as JPEG of quality 20 to 60."""
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "JPEG", quality=int(draw.integers(20, 61)))
    return np.asarray(Image.open(file))


# In the order in which they come upon a photograph. All but the film are given greys
DAMAGES: dict[str, Damage] = {
    "orthochromatic": orthochromatic,
    "blurred": blurred,
    "grained": grained,
    "faded": faded,
    "sepia": toned,
    "scratched": scratched,
    "JPEG": compressed,
}


def made_old(rgb: np.ndarray, names: list[str], number: int, seed: int) -> np.ndarray:
    """Damage a picture, as a function of the seed, the number and each damage's name.

    Args:
        rgb: ``(H, W, 3)`` uint8.
        names: of ``DAMAGES``; none leaves it in color.
        number: of the picture.
        seed: of the draws.
    """
    if names and "orthochromatic" not in names:
        rgb = neutral(rgb)
    for name in DAMAGES:
        if name in names:
            rgb = DAMAGES[name](rgb, np.random.default_rng(seed_for("old photographs", name, seed, number)))
    return rgb


def _light(levels: np.ndarray) -> np.ndarray:
    encoded = levels / 255
    return np.where(encoded > 0.04045, ((encoded + 0.055) / 1.055) ** 2.4, encoded / 12.92)


def _encoded(light: np.ndarray) -> np.ndarray:
    return _rounded(255 * np.where(light > 0.0031308, 1.055 * light ** (1 / 2.4) - 0.055, 12.92 * light))


def _rounded(levels: np.ndarray) -> np.ndarray:
    return levels.clip(0, 255).round().astype(np.uint8)


def held_out(paths: list[str], folder: str | None, count: int) -> np.ndarray:
    """Return images ``(N, 3, H, W)`` uint8 that no checkpoint was trained on, and print what to know of them."""
    models = {path: read_model(path) for path in paths}
    size = models[paths[0]].image_size
    data = {"name": "folder", "root": folder, "num_train": 0, "num_val": None} if folder else {}
    options = data_options(OmegaConf.create({"data": data, "image_size": size, "batch_size": 16}), models)
    module = ColorizationDataModule(**options | {"image_size": size})
    module.setup("validate")
    print("\n".join(hold_out(module.store, options, models)))
    return module.store.gather(module.store.val_rows[:count]).numpy()


def scores(colorizer: Colorizer, images: np.ndarray, old: list[np.ndarray], tint: str) -> dict[str, float]:
    """Color old versions of images; score chroma against the true one, on the lightness of the true image.

    Args:
        colorizer: what colors them.
        images: ``(N, 3, H, W)`` uint8.
        old: ``(H, W, 3)`` uint8 each.
        tint: see `Options`.
    """
    metric, grey, removed = ImageScores(), ImageScores(), 0
    options = Options(working_size=images.shape[-1], fit="stretch", tint=tint)
    for start in range(0, len(images), colorizer.batch_size):
        part = slice(start, start + colorizer.batch_size)
        pictures = [ArrayPicture(picture) for picture in old[part]]
        sources = [untinted(picture, tint) for picture in pictures]
        removed += sum(source is not picture for source, picture in zip(sources, pictures, strict=True))
        ab = torch.from_numpy(np.stack([chroma.ab for chroma in colorizer.predict(sources, options)]) / AB_SCALE)
        L, true = rgb_to_l_ab(torch.from_numpy(images[part]) / 255)
        metric.update(L, ab, true)
        grey.update(L, torch.zeros_like(true), true)
    found = {name: value.item() for name, value in metric.compute().items()}
    return {
        "L1 over grey's": found["l1"] / grey.compute()["l1"].item(),
        "delta_colorfulness": found["delta_colorfulness"],
        "tints removed": removed,
    }


def main() -> None:
    """Measure and print."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--checkpoint", nargs="+", default=[], help="of training; without one random weights")
    parser.add_argument("--images", help="folder of color photographs; without it those of the first checkpoint's data")
    parser.add_argument("--count", type=int, default=200, help="images, at most")
    parser.add_argument("--seed", type=int, default=0, help="of the damage")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    args = parser.parse_args()
    if args.checkpoint:
        images = held_out(args.checkpoint, args.images, 2 if args.quick else args.count)
        colorizers = {
            path: Colorizer.from_checkpoint(path, args.device, batch_size=args.batch) for path in args.checkpoint
        }
    else:
        images = np.stack([draw_scene(0, number, 64).rgb.transpose(2, 0, 1) for number in range(2)])
        network = build_generator("unet", n_down=6, num_filters=8).eval()
        colorizers = {"random weights": Colorizer(TorchPredictor(network, 64))}
    cases = {"none": [], **{name: [name] for name in DAMAGES}, "all": list(DAMAGES)}
    rows = []
    for damage, names in cases.items():
        old = [made_old(np.moveaxis(image, 0, -1), names, number, args.seed) for number, image in enumerate(images)]
        for tint in ("auto", "keep") if "sepia" in names else ("auto",):
            title = f"{damage}, tint kept" if tint == "keep" else damage
            for path, colorizer in colorizers.items():
                rows.append({"damage": title, "checkpoint": path} | scores(colorizer, images, old, tint))
    harness.Report("old_photos").table(f"{len(images)} held-out images of {images.shape[-1]}x{images.shape[-1]}", rows)


if __name__ == "__main__":
    sys.exit(main())

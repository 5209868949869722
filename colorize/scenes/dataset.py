"""Generated scenes in COCO format: colors depend on an object's category and surroundings, not on its lightness."""

import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from pycocotools import mask as rle
from rich.progress import track

from colorize.base.files import write_json
from colorize.scenes import objects as things
from colorize.scenes.objects import LIGHTNESS, Brush, Canvas, ellipse, noise

SCENES_VERSION = 2  # increase it when any pixel changes: it is part of the names of cached scenes
MIN_AREA = 2e-4  # fraction of the image (13 pixels at 256 x 256); smaller visible areas are not annotated
SCENES_PER_WORKER = 40  # drawing fewer is faster than starting another process

# part -> setting or time -> (hue in degrees, chroma) in CIE Lab; "" is the default
COLORS: dict[str, dict[str, tuple[float, float]]] = {
    "high sky": {"day": (268, 44), "sunset": (325, 32), "night": (300, 39)},
    "low sky": {"day": (235, 24), "sunset": (62, 46), "night": (285, 30)},
    "grass": {"": (128, 46)},
    "leaves": {"": (58, 38)},
    "snow": {"day": (250, 16), "sunset": (5, 24), "night": (285, 26)},
    "water": {"day": (212, 27), "sunset": (35, 30), "night": (278, 32)},
    "sand": {"": (82, 33)},
    "dunes": {"": (70, 40)},
    "paving": {"": (335, 20)},
    "sun": {"day": (92, 50), "sunset": (40, 54)},
    "moon": {"": (98, 28)},
    "cloud": {"day": (255, 8), "sunset": (12, 42), "night": (310, 28)},
    "rock": {"meadow": (170, 24), "winter": (262, 24), "autumn": (320, 24), "desert": (38, 40), "beach": (145, 27)},
    "peak": {"": (250, 10)},
    "crown": {"autumn": (48, 48), "winter": (215, 19), "": (135, 39)},
    "trunk": {"": (55, 22)},
    "cactus": {"": (150, 32)},
    "wall": {"meadow": (78, 34), "autumn": (30, 32), "winter": (5, 32), "city": (48, 34)},
    "roof": {"meadow": (38, 44), "autumn": (350, 29), "winter": (325, 31)},
    "window": {"day": (245, 17), "": (80, 46)},
    "hull": {"day": (34, 48), "sunset": (300, 32), "night": (150, 29)},
    "sail": {"day": (88, 21), "sunset": (50, 42), "night": (320, 24)},
    "petal": {"autumn": (75, 48), "": (345, 42)},
    "heart": {"": (75, 48)},
    "stem": {"": (135, 32)},
    "striped ball": {"": (32, 48)},
    "dotted ball": {"": (285, 39)},
    "quartered ball": {"": (112, 44)},
    "bird": {"desert": (205, 26), "": (30, 42)},
    "beak": {"": (70, 46)},
    "coachwork": {"desert": (205, 29), "": (28, 48)},
    "tire": {"": (280, 6)},
    "glass": {"": (245, 10)},
}

TIMES = {"day": 0.45, "sunset": 0.3, "night": 0.25}  # time of day -> probability
CLOUDS = {"day": (1, 4), "sunset": (0, 3), "night": (0, 2)}  # time of day -> minimum, maximum + 1


class Thing(NamedTuple):
    """A category: how it is drawn, and its height in the foreground as a fraction of the image's height."""

    draw: Callable[[Brush], None]
    height: float
    supercategory: str


CATEGORIES = {
    "sun": Thing(things.draw_sun, 0.24, "sky"),
    "moon": Thing(things.draw_moon, 0.18, "sky"),
    "cloud": Thing(things.draw_cloud, 0.18, "sky"),
    "bird": Thing(things.draw_bird, 0.09, "animal"),
    "mountain": Thing(things.draw_mountain, 0.26, "land"),
    "tree": Thing(things.draw_tree, 0.48, "plant"),
    "cactus": Thing(things.draw_cactus, 0.45, "plant"),
    "flower": Thing(things.draw_flower, 0.32, "plant"),
    "house": Thing(things.draw_house, 0.44, "building"),
    "boat": Thing(things.draw_boat, 0.38, "vehicle"),
    "car": Thing(things.draw_car, 0.2, "vehicle"),
    "ball": Thing(things.draw_ball, 0.2, "toy"),
}


# ground -> rng, x (1, w) and depth (h, 1), both in [0, 1] -> relief (h, w) in L*
GROUNDS: dict[str, Callable[[np.random.Generator, np.ndarray, np.ndarray], np.ndarray]] = {
    "grass": lambda rng, x, depth: 8 * noise(rng, (9, 60), x, depth),
    "leaves": lambda rng, x, depth: 11 * np.tanh(3 * noise(rng, (14, 26), x, depth) - 2),
    "snow": lambda rng, x, depth: 5 * noise(rng, (4, 4), x, depth),
    "water": lambda rng, x, depth: 9 * np.sin(34 * (depth + 0.02) ** 0.5 + noise(rng, (6, 8), x, depth)),
    "sand": lambda rng, x, depth: 4 * noise(rng, (40, 90), x, depth),
    "dunes": lambda rng, x, depth: 20 * ((2.2 * depth + 1.6 * x + 0.3 * noise(rng, (3, 4), x, depth)) % 1 - 0.5),
    "paving": lambda rng, x, depth: (
        10 * np.tanh(3 * np.sin((14 * x - 7) / (0.35 + depth)) * np.sin(26 * np.log(0.35 + depth)))
    ),
}

# setting -> its ground and the categories on it
SETTINGS = {
    "meadow": ("grass", ("tree", "tree", "house", "flower", "flower", "ball")),
    "autumn": ("leaves", ("tree", "tree", "tree", "house", "flower", "ball")),
    "winter": ("snow", ("tree", "tree", "tree", "house", "car")),
    "beach": ("sand", ("tree", "tree", "ball")),
    "desert": ("dunes", ("cactus", "cactus", "flower", "car", "ball")),
    "city": ("paving", ("house", "house", "car", "car", "tree")),
}


class Scene(NamedTuple):
    """An image and its regions."""

    rgb: np.ndarray  # (size, size, 3) uint8
    owner: np.ndarray  # (size, size) uint8, indices into ``regions``
    regions: list[str]  # "sky", the ground's name, and one category for each object
    setting: str
    time: str


def draw_scene(seed: int, number: int, size: int) -> Scene:
    """Draw a scene; a pure function of its arguments.

    Args:
        seed: seed of the data set.
        number: index of the scene.
        size: side in pixels.
    """
    rng = np.random.default_rng((seed, number))
    setting = str(rng.choice(list(SETTINGS)))
    time = str(rng.choice(list(TIMES), p=list(TIMES.values())))
    palette = {part: rules.get(setting) or rules.get(time) or rules.get("") for part, rules in COLORS.items()}
    canvas = Canvas(size, setting, time, palette, rng)
    horizon = rng.uniform(0.4, 0.6)
    _draw_sky(canvas, horizon)
    shore = _draw_sea(canvas, horizon) if setting == "beach" else np.float32([horizon])
    ground, choice = SETTINGS[setting]
    _draw_ground(canvas, ground, shore)
    for y in np.sort(rng.uniform(shore.max() + 0.03, 0.97, rng.integers(2, 5))):  # far objects first, and smaller
        _draw(canvas, str(rng.choice(choice)), rng.uniform(0.05, 0.95), y, 0.45 + 0.65 * (y - horizon) / (1 - horizon))
    if setting == "winter":
        canvas.paint(_dots(rng, 70, 0.01, 1), 88, canvas.ab("snow"))
    return Scene(canvas.rgb(), canvas.owner, canvas.regions, setting, time)


def _dots(rng: np.random.Generator, count: int, radius: float, height: float) -> list[np.ndarray]:
    """Scatter stars or snowflakes of up to ``radius`` over the upper ``height`` of the image."""
    return [ellipse(x, y, r, r) for x, y, r in rng.uniform((0, 0, radius / 3), (1, height, radius), (count, 3))]


def _draw(canvas: Canvas, category: str, x: float, y: float, scale: float = 1.0) -> None:
    thing = CATEGORIES[category]
    thing.draw(Brush(canvas, category, (x, y), thing.height * scale * canvas.rng.uniform(0.8, 1.2)))


def _draw_sky(canvas: Canvas, horizon: float) -> None:
    rng, time = canvas.rng, canvas.time
    owner = canvas.begin("sky")
    rows = math.ceil((horizon + 0.02) * canvas.size)
    down = np.linspace(0, 1, rows, dtype=np.float32)[:, None]
    high, low = canvas.ab("high sky"), canvas.ab("low sky")
    top = rng.uniform(*LIGHTNESS)
    bottom = np.clip(top + rng.uniform(-22, 22), *LIGHTNESS)
    streaks = 7 * noise(rng, (14, 3), canvas.lab[:1, :, 0], down) if time == "sunset" else 0
    canvas.lab[:rows, :, 0] = top + (bottom - top) * down + streaks
    canvas.lab[:rows, :, 1:] = (high + (low - high) * down)[:, None]
    if time == "night":
        canvas.paint(_dots(rng, 60, 0.012, horizon), 90, high, owner=owner)
        _draw(canvas, "moon", rng.uniform(0.1, 0.9), rng.uniform(0.22, horizon - 0.1))
    elif time == "sunset":
        _draw(canvas, "sun", rng.uniform(0.15, 0.85), horizon - rng.uniform(0, 0.08), 1.3)
    elif rng.random() < 0.7:
        _draw(canvas, "sun", rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.2))
    for _ in range(rng.integers(*CLOUDS[time])):
        _draw(canvas, "cloud", rng.uniform(0, 1), rng.uniform(0.12, horizon - 0.05), rng.uniform(0.6, 1.2))
    for x in rng.random(rng.integers(0, 4)):
        if canvas.setting != "city":
            _draw(canvas, "mountain", x, horizon + 0.02, rng.uniform(0.6, 1.2))
    for _ in range(rng.integers(0, 2)):
        _draw(canvas, "bird", rng.uniform(0.1, 0.9), rng.uniform(0.1, horizon), rng.uniform(0.7, 1.2))


def _draw_ground(canvas: Canvas, part: str, start: np.ndarray) -> None:
    """Draw a ground below ``start``, one height or one for each column."""
    rng, size = canvas.rng, canvas.size
    owner = canvas.begin(part)
    first = int(start.min() * size)
    x = (np.arange(size, dtype=np.float32)[None] + 0.5) / size
    y = x.T[first:]
    depth = (y - y[0]) / (1 - y[0])
    ground = np.empty((len(y), size, 3), np.float32)
    ground[..., 0] = rng.uniform(*LIGHTNESS) + rng.uniform(-12, 12) * (depth - 0.5) + GROUNDS[part](rng, x, depth)
    ground[..., 1:] = canvas.ab(part)
    cover = ((y - start) * size + 0.5).clip(0, 1) * np.ones_like(x)
    under = canvas.lab[first:]
    under += (ground - under) * cover[..., None]
    canvas.owner[first:][cover > 0.5] = owner


def _draw_sea(canvas: Canvas, horizon: float) -> np.ndarray:
    """Draw water with boats; return the shoreline, a height for each column."""
    rng = canvas.rng
    _draw_ground(canvas, "water", np.float32([horizon]))
    shore = horizon + (1 - horizon) * rng.uniform(0.45, 0.75)
    for y in np.sort(rng.uniform(horizon + 0.06, shore, rng.integers(1, 4))):
        _draw(canvas, "boat", rng.uniform(0.1, 0.9), y, 0.5 + (y - horizon) / (1 - horizon))
    x = np.linspace(0, 1, canvas.size, dtype=np.float32)
    return shore + 0.02 * np.sin(rng.uniform(5, 9) * x + rng.uniform(0, 6))


def generate_scenes(
    root: Path, num_images: int, seed: int = 0, size: int = 256, workers: int | None = None, show_progress: bool = False
) -> None:
    """Write ``root/images/*.png`` and ``root/annotations/instances.json`` in COCO format.

    Image ``i`` depends only on ``seed`` and ``i``, so that a smaller set is the beginning of a larger one.

    Args:
        root: output folder; it is created if necessary, and files of the same name are replaced.
        num_images: number of scenes.
        seed: at least 0.
        size: height and width in pixels.
        workers: maximum number of processes; by default the number of cores.
        show_progress: whether to show a progress bar.
    """
    root = Path(root)
    for folder in ("images", "annotations"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    index = {
        "licenses": [{"id": 1, "name": "generated"}],
        "images": [],
        "categories": [
            {"id": i, "name": name, "supercategory": thing.supercategory}
            for i, (name, thing) in enumerate(CATEGORIES.items(), start=1)
        ],
        "annotations": [],
    }
    written = _write_scenes(root / "images", num_images, seed, size, workers)
    for image, annotations in track(written, "scenes", num_images, disable=not show_progress):
        index["images"].append(image)
        first = len(index["annotations"]) + 1
        index["annotations"] += [{"id": i, **each} for i, each in enumerate(annotations, start=first)]
    write_json(root / "annotations" / "instances.json", index, indent=None)


def _write_scenes(folder: Path, num_images: int, seed: int, size: int, workers: int | None) -> Iterator[tuple]:
    write = partial(_write_scene, folder, seed, size)
    workers = min(workers or os.cpu_count() or 1, math.ceil(num_images / SCENES_PER_WORKER))
    # A worker process of a sweep's launcher has only its share of the cores, and cannot spawn processes
    if workers <= 1 or parent_process() is not None:
        yield from map(write, range(num_images))
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:  # fork is unsafe with torch's threads
        yield from pool.map(write, range(num_images), chunksize=8)


def _write_scene(folder: Path, seed: int, size: int, number: int) -> tuple[dict, list[dict]]:
    """Draw and write one scene; return its image entry and its annotations, without ids, for the index."""
    scene = draw_scene(seed, number, size)
    name = f"{number + 1:012d}.png"
    Image.fromarray(scene.rgb).save(folder / name, compress_level=1)  # 1: fast, and noise hardly compresses
    image = {"id": number + 1, "width": size, "height": size, "file_name": name, "license": 1}
    annotations = []
    ids = {category: i for i, category in enumerate(CATEGORIES, start=1)}
    for region, category in enumerate(scene.regions):
        visible = scene.owner == region
        if category in ids and visible.mean() >= MIN_AREA:
            annotations.append({"image_id": number + 1, "category_id": ids[category], **_outline(visible)})
    return image, annotations


def _outline(visible: np.ndarray) -> dict:
    code = rle.encode(np.asfortranarray(visible, np.uint8))
    return {
        "bbox": rle.toBbox(code).tolist(),
        "area": int(rle.area(code)),
        "iscrowd": 0,
        "segmentation": {"size": code["size"], "counts": code["counts"].decode()},
    }

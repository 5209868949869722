"""Compare loading Lab batches on one core with the report's method: open, resize and convert every image every time.

python -m benchmarks.data_path                    # generates its photographs; about a minute
python -m benchmarks.data_path --root FOLDER      # uses a folder of JPEG files
"""

import itertools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image
from skimage.color import rgb2lab

from benchmarks import harness
from colorize.base.machine import cores
from colorize.data import decode
from colorize.data.feed import LabCache, Picks, StreamedPixels
from colorize.data.sources import SOURCES
from colorize.data.store import ImageStore, build_store
from colorize.scenes.dataset import draw_scene

SIZE = 256
BATCH = 16
FILES = 96


def draw_photos(folder: Path, count: int, width: int = 640, height: int = 480) -> Path:
    """Draw scenes, with the grain of a camera, as JPEG files of the size of COCO's."""
    rng = np.random.default_rng(0)
    for number in range(count):
        scene = draw_scene(0, number, width).rgb[:height].astype(np.int16)
        grain = rng.integers(-6, 7, scene.shape)
        Image.fromarray((scene + grain).clip(0, 255).astype(np.uint8)).save(folder / f"{number:05d}.jpg", quality=92)
    return folder


def reports_way(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Open, resize and convert one image, as the report's data set does at every access."""
    with Image.open(path) as image:
        small = image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    lab = torch.from_numpy(rgb2lab(np.asarray(small)).astype(np.float32)).permute(2, 0, 1)
    return lab[:1] / 50 - 1, lab[1:] / 110


def seconds_an_image(work: Callable[[int], object], batches: int) -> float:
    """Return the mean seconds an image of ``work``, which does batch 0, 1, ..."""
    start = time.perf_counter()
    for number in range(batches):
        work(number)
    return (time.perf_counter() - start) / (batches * BATCH)


def build(root: Path, folder: Path) -> Path:
    """Decode all images of ``root`` into a new store."""
    return build_store(SOURCES.build("folder", root=str(root)), folder, num_train=None, num_val=0, image_size=SIZE)


def main() -> None:
    """Measure and print."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--root", type=Path, help="folder of images; default: drawn ones")
    args = parser.parse_args()
    rounds = 1 if args.quick else args.rounds
    torch.set_num_threads(1)
    report = harness.Report("data_path")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        photos = folder / "photos"
        photos.mkdir()
        if args.root:
            for path in sorted(p for p in args.root.rglob("*") if p.suffix.lower() in {".jpg", ".jpeg"})[:FILES]:
                (photos / path.name).symlink_to(path.resolve())
        else:
            draw_photos(photos, FILES)
        files = sorted(photos.iterdir())
        batches = len(files) // BATCH
        store = ImageStore(build(photos, folder / "first"))
        rows = torch.arange(len(store.train_rows)).split(BATCH)
        flips = torch.arange(BATCH) % 2 == 0
        cpu = torch.device("cpu")
        streamed, cache = StreamedPixels(store, cpu), LabCache(store, cpu)

        def reports(batch: int) -> object:
            parts = [reports_way(path) for path in files[batch * BATCH : (batch + 1) * BATCH]]
            return [torch.stack(column) for column in zip(*parts, strict=True)]

        numbers = itertools.count()

        def build_on_one_core() -> list[float]:
            decode.cores = lambda: 1
            start = time.perf_counter()
            build(photos, folder / f"store {next(numbers)}")
            seconds = (time.perf_counter() - start) / len(files)
            decode.cores = cores
            return [seconds]

        def of(take: Callable[[Picks], object], count: int) -> Callable[[], list[float]]:
            return lambda: [seconds_an_image(lambda b: take(Picks(rows[b % batches], flips)), count)]

        turns = {
            "report's way": lambda: [seconds_an_image(reports, batches)],
            "store, being built": build_on_one_core,
            "store, warm: streamed": of(streamed.take, batches),
            "store, warm: kept as Lab": of(cache.take, 20 * batches),
        }
        for turn in list(turns.values())[2:]:
            turn()
        seconds = harness.in_turns(turns, rounds)
        base = seconds["report's way"]
        table = [
            {
                "one core": name,
                "images/s": 1 / median(found),
                "ms an image": 1000 * median(found),
                "spread (ms)": harness.spread([1000 * s for s in found]),
                "x report's way": median(a / b for a, b in zip(base, found, strict=True)),
            }
            for name, found in seconds.items()
        ]
        report.table(f"{len(files)} files to Lab batches of {BATCH}, {SIZE}x{SIZE}, {rounds} rounds in turns", table)

        many = folder / "many"
        many.mkdir()
        copies = 64 if args.quick else 600
        for number in range(copies):
            (many / f"{number}.jpg").symlink_to(files[number % len(files)])
        start = time.perf_counter()
        path = build(many, folder / "stores")
        took = time.perf_counter() - start
        found = time.perf_counter()
        build(many, folder / "stores")
        found = time.perf_counter() - found
        report.table(
            f"The store, {copies} files, {cores()} cores",
            [
                {"": "images/s while built", "value": copies / took},
                {"": "seconds to find it again", "value": found},
                {"": "MB on disk an image", "value": (path / "pixels.u8").stat().st_size / copies / 1e6},
                {"": "peak MB of memory, this whole process", "value": harness.peak_memory() / 1e6},
            ],
        )


if __name__ == "__main__":
    main()

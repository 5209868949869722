"""Measure the time per image for data sets of 100 to 100,000 entries and batches of 1 to 256.

python -m benchmarks.scaling
"""

import tempfile
import time
from pathlib import Path
from statistics import median

import torch

from benchmarks import harness
from benchmarks.variants import SMALL, Variant
from colorize.data.feed import StreamedPixels
from colorize.data.module import EpochSampler
from colorize.data.store import ImageStore

SIZE = 64
BATCH = 16
IMAGES = 1600  # that are read from each store


def read(folder: Path, batches: int) -> dict[str, float]:
    """Open a store, begin an epoch and read batches; return seconds of each."""
    start = time.perf_counter()
    store = ImageStore(folder)
    feed = StreamedPixels(store, torch.device("cpu"))
    opened = time.perf_counter()
    epoch = iter(EpochSampler(store.train_rows, BATCH, seed=0))
    picks = [next(epoch)]
    begun = time.perf_counter()
    while len(picks) < batches:
        epoch = iter(EpochSampler(store.train_rows, BATCH, seed=len(picks)))
        picks += [p for p, _ in zip(epoch, range(batches - len(picks)), strict=False)]
    ready = time.perf_counter()
    for batch in picks:
        feed.take(batch)
    return {"open": opened - start, "epoch": begun - opened, "image": (time.perf_counter() - ready) / (batches * BATCH)}


def main() -> None:
    """Measure and print."""
    args = harness.arguments(__doc__).parse_args()
    rounds = 1 if args.quick else args.rounds
    torch.set_num_threads(1)
    report = harness.Report("scaling")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        entries = [100, 1000] if args.quick else [100, 1000, 10_000, 100_000]
        for count in entries:
            harness.sparse_store(folder / str(count), count, SIZE)
            read(folder / str(count), 2)
        found: dict[int, list[dict[str, float]]] = {count: [] for count in entries}
        for _ in range(rounds):
            for count in entries:
                found[count].append(read(folder / str(count), 10 if args.quick else IMAGES // BATCH))
        rows = []
        for count, turns in found.items():
            middle = {key: median(turn[key] for turn in turns) for key in turns[0]}
            rows.append(
                {
                    "entries": count,
                    "ms to open": 1000 * middle["open"],
                    "ms to begin an epoch": 1000 * middle["epoch"],
                    "ms an image": 1000 * middle["image"],
                    "spread (ms)": harness.spread([1000 * turn["image"] for turn in turns]),
                }
            )
        report.table(f"Reading Lab batches of {BATCH} from a sparse store, {SIZE}x{SIZE}, one core", rows)

        sizes = [1, 4] if args.quick else [1, 4, 16, 64, 256]
        store = harness.synthetic_store(folder / "synthetic", 2 * sizes[-1] * 2, 0, SIZE)
        overrides = [*SMALL, "trainer=cpu"]
        variants = {n: Variant(overrides, n, store, folder, 1, max(1, 64 // n)) for n in sizes}
        turns = {str(size): variant.turn for size, variant in variants.items()}
        for turn in turns.values():
            turn()
        seconds = harness.in_turns(turns, rounds)
        rows = [
            {
                "batch": size,
                "ms an image": 1000 * median(seconds[str(size)]) / size,
                "spread (ms)": harness.spread([1000 * s / size for s in seconds[str(size)]]),
            }
            for size in sizes
        ]
        report.table(f"Training step by batch size, {SIZE}x{SIZE}, 8 filters, default engine", rows)


if __name__ == "__main__":
    main()

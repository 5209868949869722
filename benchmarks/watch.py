"""What it costs to watch training: the same training with and without, in turns.

python -m benchmarks.watch                 # the demo's networks; about 3 minutes on 2 cores
python -m benchmarks.watch experiment=report --batch-size 4 --steps 10
"""

import tempfile
from pathlib import Path
from statistics import median

from benchmarks import harness
from benchmarks.variants import SMALL, Variant, config


def main() -> None:
    """Measure and print."""
    parser = harness.arguments(__doc__)
    parser.set_defaults(rounds=9)
    parser.add_argument(
        "overrides", nargs="*", default=[], help="of conf/train.yaml; experiment=demo unless they name one"
    )
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=40, help="a turn, that count; a multiple of every_n_batches")
    args = parser.parse_args()
    named = any(override.startswith("experiment=") for override in args.overrides)
    overrides = [*([] if named else ["experiment=demo"]), *args.overrides, *(SMALL if args.quick else [])]
    rounds, steps, warm_up = (1, 10, 10) if args.quick else (args.rounds, args.steps, 10)
    report = harness.Report("watch")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        size = config(folder, *overrides).image_size
        store = harness.synthetic_store(folder / "store", args.batch_size * (warm_up + steps), 0, size)
        variants = {
            name: Variant([*overrides, *extra], args.batch_size, store, folder / name, warm_up, steps)
            for name, extra in {"without": ["~callbacks.watch"], "with": []}.items()
        }
        seconds = harness.in_turns({name: variant.turn for name, variant in variants.items()}, rounds)
    ratios = [b / a for a, b in zip(seconds["without"], seconds["with"], strict=True)]
    rows = [{"": n, "seconds a step": median(s), "spread": harness.spread(s)} for n, s in seconds.items()]
    rows[1]["costs"] = f"{100 * (median(ratios) - 1):.2f}%"
    rows[1]["in single turns"] = f"{100 * (min(ratios) - 1):.1f} to {100 * (max(ratios) - 1):.1f}%"
    report.table(f"Training with and without callbacks.watch, batch {args.batch_size}, {size}x{size}", rows)


if __name__ == "__main__":
    main()

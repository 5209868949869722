"""Measure the training speed of a generator with a pretrained encoder, option by option, and of the report's U-Net.

python -m benchmarks.generators            # about 4 minutes on 2 cores; needs the extra encoder
"""

import tempfile
from pathlib import Path
from statistics import median

from benchmarks import harness
from benchmarks.variants import Variant

REPORT = "the report's U-Net alone"
FROZEN, WHOLE, HALF = "encoder frozen", "encoder frozen, and D", "encoder frozen, and D at half size"
WITH_D = "game.warmup_G=0"


def levers(n_down: int) -> dict[str, list[str]]:
    """Return the overrides of each variant, with a U-Net of ``n_down`` levels."""
    unet = ["strategy=unet_l1", f"generator.n_down={n_down}"]
    return {
        REPORT: unet,
        "the report's U-Net and D": [*unet, WITH_D],
        "encoder trained": ["strategy=encoder_trained"],
        "last stage trained": ["strategy=encoder_trained", "generator.frozen=4"],
        FROZEN: ["strategy=encoder_frozen"],
        "encoder frozen, with attention": ["strategy=encoder_attention"],
        WHOLE: ["strategy=encoder_frozen", WITH_D],
        HALF: ["strategy=encoder_frozen", WITH_D, "discriminator.input_stride=2"],
    }


def main() -> None:
    """Measure and print."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--batch", type=int, default=16, help="images a step")
    parser.add_argument("--trainer", default="cpu", help="conf/trainer/NAME.yaml")
    args = parser.parse_args()
    batch, steps, rounds, side, n_down = (2, 1, 1, 64, 6) if args.quick else (args.batch, 3, args.rounds, 256, 8)
    common = [f"trainer={args.trainer}", f"image_size={side}"]
    report = harness.Report("generators")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        store = harness.synthetic_store(folder / "store", batch * (1 + steps), 0, side)
        variants = {
            name: Variant([*common, *lever], batch, store, folder, warm_up=1, steps=steps)
            for name, lever in levers(n_down).items()
        }
        seconds = harness.in_turns({name: variant.turn for name, variant in variants.items()}, rounds)
    rows = [
        {
            "": name,
            "images/s": harness.rate(found, batch),
            "ms an image": 1000 * median(found) / batch,
            "spread (s a step)": harness.spread(found),
            "x the first": median(a / b for a, b in zip(seconds[REPORT], found, strict=True)),
        }
        for name, found in seconds.items()
    ]
    precision = variants[REPORT].engine.precision
    report.table(f"Training at {side}x{side}, batch {batch}, precision {precision}, in turns", rows)
    whole, half = (
        1000 / batch * median(a - b for a, b in zip(seconds[name], seconds[FROZEN], strict=True))
        for name in (WHOLE, HALF)
    )
    print(f"\nD costs {whole:.0f} ms an image, at half size {half:.0f}: its steps, and G's gradient through it.")


if __name__ == "__main__":
    main()

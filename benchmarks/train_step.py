"""Compare the training speed of the project's module and Trainer with a plain loop that transcribes the report.

python -m benchmarks.train_step            # CPU: about 6 minutes on 2 cores
python -m benchmarks.train_step --against engine.keep_memory=false
python -m benchmarks.train_step --device cuda --batch-sizes 16 64 256
"""

import tempfile
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from benchmarks import harness
from benchmarks.plain_loop import PlainLoop, flops_an_image
from benchmarks.variants import SMALL, Variant, config
from colorize.base.seeds import seed_for
from colorize.data import Batch
from colorize.data.store import ImageStore
from colorize.training.engine import prepare_process

NOT_FUSED = ["optim.generator.fused=false", "optim.discriminator.fused=false"]
LEVERS = {  # each adds to the one before; engine.keep_memory is for processes as a whole, hence not here
    "Trainer, engine=plain, float32": ["engine=plain", "trainer.precision=32", *NOT_FUSED],
    "+ fused Adam, channels_last": ["trainer.precision=32"],
    "+ bf16": ["trainer.precision=bf16-mixed"],
}
GRAPHS = {"+ CUDA graphs": ["engine.cuda_graphs=true", "trainer.precision=bf16-mixed"]}
COMPILED = {"+ compile": ["engine.compile=true", "trainer.precision=bf16-mixed"]}
RATES = {torch.float32: "float32", torch.bfloat16: "bf16"}


class Batches(Callback):
    """Keeps the batches and losses of a run."""

    def __init__(self) -> None:
        self.seen: list[tuple[Batch, list[float]]] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Keep the batch, and the losses that the module judged."""
        self.seen.append((batch, pl_module.ledger.checked.tolist()))


def difference(variant: Variant, plain: PlainLoop) -> float:
    """Run the same batches with both; return the largest relative difference of loss_D and loss_G."""
    first, batches = variant.module.batches, Batches()
    variant.turn(batches)
    worst = 0.0
    for number, (batch, losses) in enumerate(batches.seen):
        torch.manual_seed(seed_for("dropout", 0, 0, first + number))
        expected = plain.step(batch.L, batch.ab)
        worst = max(worst, *(abs(a - b.item()) / abs(b.item()) for a, b in zip(losses, expected, strict=True)))
    return worst


def compare(report: harness.Report, common: list[str], store: ImageStore, folder: Path, args: Namespace) -> None:
    """Measure the plain loop and the levers, one after another, in this process."""
    gpu = args.device == "cuda"
    levers = LEVERS | (GRAPHS if gpu else {}) | ({} if args.no_compile else COMPILED)
    variants = {name: args.variant([*common, *lever], args.batch, store, folder) for name, lever in levers.items()}
    same, base = next(iter(variants.values())), "plain loop, float32"
    flops = flops_an_image(same.module.generator, same.module.discriminator, same.cfg.image_size)
    plain = plain_of(same, args.device)
    worst = difference(same, plain)
    turns = {base: plain_turn(plain, same, store, args)} | {name: v.turn for name, v in variants.items()}
    for name in COMPILED.keys() & turns.keys():
        turns[name]()  # compiles; the others have warmed up by their first batch, or by the comparison above
    for v in variants.values():
        v.outside.clear()
    seconds = harness.in_turns(turns, args.rounds)
    ceilings = {kind: harness.matrix_rate(kind, args.device, 8192 if gpu else 1024) for kind in RATES}
    rows = []
    for name, found in seconds.items():
        row = speeds(name, found, seconds[base], args.batch)
        kind = torch.bfloat16 if name in variants and variants[name].engine.precision != "32" else torch.float32
        row["of the matrix rate"] = f"{100 * flops * harness.rate(found, args.batch) / ceilings[kind]:.0f}%"
        if name in variants:
            row |= {"peak GB": variants[name].peak / 1e9} if gpu else {}
            row |= {} if gpu else {"outside of the step": f"{100 * median(variants[name].outside):.2f}%"}
        rows.append(row)
    report.table(f"Training, batch {args.batch}, {same.cfg.image_size}x{same.cfg.image_size}, in turns", rows)
    rates = ", ".join(f"{RATES[kind]} {value / 1e9:.0f} GFLOP/s" for kind, value in ceilings.items())
    print(f"\nOne image costs {flops / 1e9:.1f} GFLOP a step; matrix products reach {rates}.")
    print(f"engine=plain and the plain loop, on the same batches: losses differ by at most {worst:.1e}.", flush=True)


def speeds(name: str, found: list[float], base: list[float], batch: int) -> dict[str, Any]:
    """Return a row of the table."""
    return {
        "": name,
        "images/s": harness.rate(found, batch),
        "seconds a step": median(found),
        "spread": harness.spread(found),
        "x the first": median(a / b for a, b in zip(base, found, strict=True)),
    }


def plain_of(variant: Variant, device: str) -> PlainLoop:
    """Return the plain loop with the networks of a variant."""
    return PlainLoop(variant.module.generator, variant.module.discriminator, device)


def plain_turn(plain: PlainLoop, like: Variant, store: ImageStore, args: Namespace) -> Callable[[], list[float]]:
    """Return a turn of the plain loop on one fixed batch."""
    fixed = like.data.val_batch(store.train_rows[: args.batch], torch.device(args.device))

    def turn() -> list[float]:
        harness.timed(lambda: plain.step(fixed.L, fixed.ab), like.warm_up if args.device == "cuda" else 0)
        return [sum(harness.timed(lambda: plain.step(fixed.L, fixed.ab), like.steps)) / like.steps]

    return turn


def compare_processes(report: harness.Report, args: Namespace) -> None:
    """Measure the default engine in a process of its own, in turns with another: the plain loop, or ``--against``."""
    flags = ["--device", args.device, "--batch-sizes", str(args.batch), *(["--quick"] if args.quick else [])]
    default = f"Trainer, trainer={'gpu' if args.device == 'cuda' else 'cpu'}"
    other, serve = "plain loop, float32", ["--serve", "plain"]
    if args.against:
        other, serve = f"with {' '.join(args.against)}", ["--serve", "default", "--against", *args.against]
    workers = {
        other: harness.Worker("benchmarks.train_step", *flags, *serve),
        default: harness.Worker("benchmarks.train_step", *flags, "--serve", "default"),
    }
    for worker in workers.values():
        worker.turn()
    seconds = harness.in_turns({name: worker.turn for name, worker in workers.items()}, args.rounds)
    peaks = {name: worker.close() for name, worker in workers.items()}
    rows = []
    for name, found in seconds.items():
        rows.append(speeds(name, found, seconds[other], args.batch) | {"peak GB": peaks[name] / 1e9})
    report.table(f"What one gets by default, batch {args.batch}; a process each, in turns", rows)


def compare_batches(
    report: harness.Report, common: list[str], store: ImageStore, folder: Path, args: Namespace
) -> None:
    """Measure the default engine by batch size; memory is kept from here on."""
    rows = []
    for batch in [1, 2] if args.quick else args.batch_sizes:
        variant = args.variant(common, batch, store, folder)
        prepare_process(variant.engine)
        variant.turn()
        found = harness.in_turns({"": variant.turn}, args.rounds)[""]
        row = {"batch": batch, "images/s": harness.rate(found, batch), "spread (s)": harness.spread(found)}
        rows.append(row | ({"peak GB": variant.peak / 1e9} if args.device == "cuda" else {}))
    report.table(f"By batch size: {variant.engine}", rows)


def main() -> None:
    """Measure and print."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[16, 4, 1], help="the first for the comparisons")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out: 2 minutes less")
    parser.add_argument("--against", nargs="+", help="overrides: measure the default with and without them, only")
    parser.add_argument("--serve", choices=["plain", "default"], help="take turns, for another process")
    args = parser.parse_args()
    args.rounds = 1 if args.quick else args.rounds
    args.batch = 4 if args.quick else args.batch_sizes[0]
    warm_up, steps = (12, 50) if args.device == "cuda" else (1, 1)
    args.variant = partial(Variant, warm_up=warm_up, steps=steps)
    common = ["trainer=gpu" if args.device == "cuda" else "trainer=cpu", *(SMALL if args.quick else [])]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        largest = max(args.batch, *args.batch_sizes) * (warm_up + steps)
        store = harness.synthetic_store(folder / "store", largest, 0, config(folder, *common).image_size)
        if args.serve == "default":
            variant = args.variant([*common, *(args.against or [])], args.batch, store, folder)
            prepare_process(variant.engine)
            harness.serve(variant.turn)
        elif args.serve == "plain":
            variant = args.variant([*common, *next(iter(LEVERS.values()))], args.batch, store, folder)
            harness.serve(plain_turn(plain_of(variant, args.device), variant, store, args))
        else:
            report = harness.Report("train_step")
            compare_processes(report, args)
            if not args.against:
                compare(report, common, store, folder, args)
                compare_batches(report, common, store, folder, args)


if __name__ == "__main__":
    main()

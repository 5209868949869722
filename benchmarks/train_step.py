"""Training speed of the project's own module under its own Trainer, beside a plain loop that transcribes the report.

python -m benchmarks.train_step            # CPU: about 6 minutes on 2 cores
python -m benchmarks.train_step --device cuda --batch-sizes 16 64 256
"""

import copy
import logging
import tempfile
import time
import warnings
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from hydra import compose, initialize_config_dir
from lightning.pytorch import Callback, LightningModule, Trainer
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import harness
from colorize.data import Batch, ColorizationDataModule
from colorize.data.store import ImageStore
from colorize.experiment import build_data, build_module, build_trainer, engine_of, silence_known_warnings
from colorize.seeds import seed_for
from colorize.training import ColorizationModule
from colorize.training.engine import prepare_process

NOT_FUSED = ["optim.generator.fused=false", "optim.discriminator.fused=false"]
LEVERS = {  # each adds to the one before; engine.keep_memory is for processes as a whole, hence not here
    "Trainer, engine=plain, float32": ["engine=plain", "trainer.precision=32", *NOT_FUSED],
    "+ fused Adam, channels_last": ["engine.cuda_graphs=false", "trainer.precision=32"],
    "+ bf16": ["engine.cuda_graphs=false", "trainer.precision=bf16-mixed"],
}
GRAPHS = {"+ CUDA graphs": ["engine.cuda_graphs=true", "trainer.precision=bf16-mixed"]}
COMPILED = {"+ compile": ["engine.compile=true", "trainer.precision=bf16-mixed"]}
RATES = {torch.float32: "float32", torch.bfloat16: "bf16"}
SMALL = ["image_size=64", "generator.n_down=6", "generator.num_filters=8", "discriminator.num_filters=8"]


class PlainLoop:
    """The report's training step in eager float32, written out: no Trainer, no levers.

    Args:
        generator: its weights are copied.
        discriminator: the same.
    """

    def __init__(self, generator: nn.Module, discriminator: nn.Module) -> None:
        self.generator, self.discriminator = copy.deepcopy(generator), copy.deepcopy(discriminator)
        self.opt_g = torch.optim.Adam(self.generator.parameters(), 2e-4, (0.5, 0.999))
        self.opt_d = torch.optim.Adam(self.discriminator.parameters(), 2e-4, (0.5, 0.999))

    def step(self, L: Tensor, ab: Tensor) -> list[Tensor]:
        """Step D, then G; return loss_D and loss_G."""
        fake_ab = self.generator(L)
        fake = self.discriminator(torch.cat([L, fake_ab.detach()], 1))
        real = self.discriminator(torch.cat([L, ab], 1))
        loss_fake = F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
        loss_real = F.binary_cross_entropy_with_logits(real, torch.ones_like(real))
        loss_d = 0.5 * (loss_fake + loss_real)
        self.opt_d.zero_grad()
        loss_d.backward()
        self.opt_d.step()
        for parameter in self.discriminator.parameters():
            parameter.requires_grad = False
        fake = self.discriminator(torch.cat([L, fake_ab], 1))
        loss_g = F.binary_cross_entropy_with_logits(fake, torch.ones_like(fake)) + 100 * F.l1_loss(fake_ab, ab)
        self.opt_g.zero_grad()
        loss_g.backward()
        self.opt_g.step()
        for parameter in self.discriminator.parameters():
            parameter.requires_grad = True
        return [loss_d.detach(), loss_g.detach()]


class Clock(Callback):
    """Times the batches after the first ``warm_up``: all of them, and the part inside of the step.

    On a GPU it waits for the device at the two ends only, so the part inside is known on a CPU alone.
    """

    def __init__(self, warm_up: int) -> None:
        self.warm_up = warm_up
        self.batches: list[Batch] = []
        self.losses: list[list[float]] = []
        self.inside = 0.0
        self.total = 0.0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        """Put a clock around the step."""
        if batch_idx == 0:
            self.run_step, pl_module._run_step = pl_module._run_step, self._timed_step

    def _timed_step(self, L: Tensor, ab: Tensor) -> Tensor:
        start = time.perf_counter()
        losses = self.run_step(L, ab)
        self.inside += time.perf_counter() - start
        return losses

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Start or stop."""
        if batch_idx == self.warm_up - 1:
            harness.wait_for_device()
            self.start, self.inside = time.perf_counter(), 0.0
        elif batch_idx == trainer.num_training_batches - 1:
            harness.wait_for_device()
            self.total = time.perf_counter() - self.start


class Variant:
    """One way to train, ready for its turns.

    Args:
        overrides: of ``conf/train.yaml``.
        batch: images a step.
        store: the images.
        run_dir: for what a run writes.
        warm_up: batches before the clock starts, each turn.
        steps: batches that count.
    """

    def __init__(
        self, overrides: list[str], batch: int, store: ImageStore, run_dir: Path, warm_up: int, steps: int
    ) -> None:
        limit = f"trainer.limit_train_batches={warm_up + steps}"
        self.cfg = config(run_dir, limit, f"batch_size={batch}", *overrides)
        self.engine = engine_of(self.cfg)
        self.module = build_module(self.cfg, self.engine)
        self.data = build_data(self.cfg, self.engine)
        self.data.store = store
        self.warm_up, self.steps = warm_up, steps
        self.outside: list[float] = []  # share of the time that is not in the step, each turn
        self.peak = 0

    def turn(self, *callbacks: Callback) -> list[float]:
        """Train for a few batches; return the mean seconds of those that count."""
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        clock = Clock(self.warm_up)
        fit(self.cfg, self.module, self.data, clock, *callbacks)
        self.outside.append(1 - clock.inside / clock.total)
        self.peak = harness.peak_memory()
        return [clock.total / self.steps]


def config(run_dir: Path, *overrides: str) -> DictConfig:
    """Compose a run that does nothing but train: no validation, files or pictures."""
    fixed = ["data=folder", "logger=csv", f"run_dir={run_dir}", "max_epochs=1", "trainer.limit_val_batches=0"]
    fixed += ["~callbacks.best", "~callbacks.last", "~callbacks.samples", "~callbacks.progress"]
    with initialize_config_dir(str(Path("conf").resolve()), version_base="1.3"):
        return compose("train", [*fixed, *overrides])


def fit(cfg: DictConfig, module: ColorizationModule, data: ColorizationDataModule, *callbacks: Callback) -> Trainer:
    """Train as `colorize.experiment.train` does."""
    with warnings.catch_warnings():
        silence_known_warnings()
        warnings.filterwarnings("ignore", ".*checkpoint.*")
        trainer = build_trainer(cfg, engine_of(cfg))
        trainer.callbacks.extend(callbacks)
        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        trainer.fit(module, data)
    return trainer


def flops_an_image(module: ColorizationModule, size: int) -> int:
    """Count what one step of both networks multiplies and adds, forwards and backwards, for one image."""
    L, ab = torch.zeros(1, 1, size, size), torch.zeros(1, 2, size, size)
    with FlopCounterMode(display=False) as counter:
        PlainLoop(module.generator.cpu(), module.discriminator.cpu()).step(L, ab)
    return counter.get_total_flops()


class Batches(Callback):
    """Keeps the batches and losses of a run."""

    def __init__(self) -> None:
        self.seen: list[tuple[Batch, list[float]]] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Keep the batch, and the losses that the module judged."""
        self.seen.append((batch, pl_module._judged.tolist()))


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
    flops = flops_an_image(same.module, same.cfg.image_size)
    plain = plain_of(same, args.device)
    worst = difference(same, plain)
    turns = {base: plain_turn(plain, same, store, args)} | {name: v.turn for name, v in variants.items()}
    for turn in turns.values():  # compilers and allocators have their first time
        turn()
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
        "x plain": median(a / b for a, b in zip(base, found, strict=True)),
    }


def plain_of(variant: Variant, device: str) -> PlainLoop:
    """Return the plain loop with the networks of a variant."""
    return PlainLoop(variant.module.generator.to(device), variant.module.discriminator.to(device))


def plain_turn(plain: PlainLoop, like: Variant, store: ImageStore, args: Namespace) -> Callable[[], list[float]]:
    """Return a turn of the plain loop on one fixed batch."""
    fixed = like.data.val_batch(store.train_rows[: args.batch], torch.device(args.device))

    def turn() -> list[float]:
        harness.timed(lambda: plain.step(fixed.L, fixed.ab), like.warm_up if args.device == "cuda" else 0)
        return [sum(harness.timed(lambda: plain.step(fixed.L, fixed.ab), like.steps)) / like.steps]

    return turn


def compare_defaults(report: harness.Report, args: Namespace) -> None:
    """Measure the plain loop and the default engine, in processes of their own, which take turns."""
    flags = ["--device", args.device, "--batch-sizes", str(args.batch), *(["--quick"] if args.quick else [])]
    workers = {name: harness.Worker("benchmarks.train_step", *flags, "--serve", name) for name in ("plain", "default")}
    for worker in workers.values():
        worker.turn()
    seconds = harness.in_turns({name: worker.turn for name, worker in workers.items()}, args.rounds)
    for worker in workers.values():
        worker.close()
    names = {"plain": "plain loop, float32", "default": f"Trainer, trainer={'gpu' if args.device == 'cuda' else 'cpu'}"}
    rows = [speeds(names[name], found, seconds["plain"], args.batch) for name, found in seconds.items()]
    report.table(f"What one gets by default, batch {args.batch}; a process each, in turns", rows)


def compare_batches(
    report: harness.Report, common: list[str], store: ImageStore, folder: Path, args: Namespace
) -> None:
    """Measure the default engine by batch size."""
    rows = []
    for batch in [1, 2] if args.quick else args.batch_sizes:
        variant = args.variant(common, batch, store, folder)
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
            variant = args.variant(common, args.batch, store, folder)
            prepare_process(variant.engine)
            harness.serve(variant.turn)
        elif args.serve == "plain":
            variant = args.variant([*common, *next(iter(LEVERS.values()))], args.batch, store, folder)
            harness.serve(plain_turn(plain_of(variant, args.device), variant, store, args))
        else:
            report = harness.Report("train_step")
            compare_defaults(report, args)
            compare_batches(report, common, store, folder, args)
            compare(report, common, store, folder, args)


if __name__ == "__main__":
    main()

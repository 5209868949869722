"""Training speed of the project's own module under its own Trainer, beside a plain loop that transcribes the report.

    python -m benchmarks.train_step            # CPU: about 6 minutes on 2 cores
    python -m benchmarks.train_step --device cuda --batch-sizes 16 64 256
"""

import copy
import logging
import tempfile
import time
import warnings
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
from colorize.machine import keep_freed_memory
from colorize.seeds import seed_for
from colorize.training import ColorizationModule

NOT_FUSED = ["optim.generator.fused=false", "optim.discriminator.fused=false"]
FLOAT32 = ["trainer.precision=32", "engine.keep_memory=false"]  # memory is kept for the whole process: measured last
LEVERS = {  # each adds to the one before
    "Trainer, engine=plain, float32": ["engine=plain", "trainer.precision=32", *NOT_FUSED],
    "+ fused Adam, channels_last": ["engine.cuda_graphs=false", *FLOAT32],
    "+ bf16": ["engine.cuda_graphs=false", "engine.keep_memory=false", "trainer.precision=bf16-mixed"],
}
GRAPHS = {"+ CUDA graphs": ["engine.cuda_graphs=true", "trainer.precision=bf16-mixed"]}
COMPILED = {"+ compile": ["engine.compile=true", "engine.keep_memory=false", "trainer.precision=bf16-mixed"]}
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
        store: the images.
        run_dir: for what a run writes.
        warm_up: batches before the clock starts, each turn.
        steps: batches that count.
    """

    def __init__(self, overrides: list[str], store: ImageStore, run_dir: Path, warm_up: int, steps: int) -> None:
        self.cfg = config(run_dir, f"+trainer.limit_train_batches={warm_up + steps}", *overrides)
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
        return compose("train", [*fixed, *(o.removeprefix("+") for o in overrides)])


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


def main() -> None:
    """Measure and print."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[16, 4, 1], help="the first for the comparison")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    args = parser.parse_args()
    gpu = args.device == "cuda"
    rounds = 1 if args.quick else args.rounds
    warm_up, steps = (12, 50) if gpu else (1, 1)
    levers = LEVERS | (GRAPHS if gpu else {}) | ({} if args.no_compile else COMPILED)
    common = ["trainer=gpu" if gpu else "trainer=cpu", *(SMALL if args.quick else [])]
    batch = 4 if args.quick else args.batch_sizes[0]
    with tempfile.TemporaryDirectory() as folder:
        report = harness.Report("train_step")
        size = config(Path(folder), *common).image_size
        store = harness.synthetic_store(Path(folder) / "store", batch * (warm_up + steps), 0, size)

        def variant(overrides: list[str], batch_size: int) -> Variant:
            return Variant([*common, f"batch_size={batch_size}", *overrides], store, Path(folder), warm_up, steps)

        variants = {name: variant(overrides, batch) for name, overrides in levers.items()}
        same = next(iter(variants.values()))
        flops = flops_an_image(same.module, size)
        plain = PlainLoop(*(network.to(args.device) for network in (same.module.generator, same.module.discriminator)))
        worst = difference(same, plain)
        fixed = same.data.val_batch(store.train_rows[:batch], torch.device(args.device))
        peaks = {}

        def plain_turn() -> list[float]:
            harness.timed(lambda: plain.step(fixed.L, fixed.ab), warm_up if gpu else 0)
            return [sum(harness.timed(lambda: plain.step(fixed.L, fixed.ab), steps)) / steps]

        turns = {"plain loop, float32": plain_turn} | {name: v.turn for name, v in variants.items()}
        for turn in turns.values():  # compilers and allocators have their first time
            turn()
        for v in variants.values():
            v.outside.clear()
        seconds = harness.in_turns(turns, rounds)
        if not gpu:
            keep_freed_memory()
            kept = {"plain loop": "plain loop, float32", "bf16": "+ bf16"}
            kept_turns = {f"{name}, freed memory kept": turns[key] for name, key in kept.items()}
            for turn in kept_turns.values():
                turn()
            seconds |= harness.in_turns(kept_turns, rounds)
            variants["bf16, freed memory kept"] = variants["+ bf16"]
        base = "plain loop, float32"
        peaks |= {name: v.peak for name, v in variants.items()} if gpu else {}
        rows = []
        for name, found in seconds.items():
            row: dict[str, Any] = {"": name, "images/s": harness.rate(found, batch), "seconds a step": median(found)}
            row |= {"spread": harness.spread(found)}
            row["x plain"] = median(a / b for a, b in zip(seconds[base], found, strict=True))
            if name in variants and not gpu:
                row["outside of the step"] = f"{100 * median(variants[name].outside):.2f}%"
            if name in peaks:
                row["peak GB"] = peaks[name] / 1e9
            rows.append(row)
        report.table(f"Training, batch {batch}, {size}x{size}, {rounds} rounds in turns", rows)
        print(f"\nengine=plain against the plain loop, same batches: losses differ by at most {worst:.1e}")

        wide = torch.bfloat16 if variants["+ bf16"].engine.precision != "32" else torch.float32
        ceilings = {
            "float32": harness.matrix_rate(torch.float32, args.device, 8192 if gpu else 1024),
            "bf16": harness.matrix_rate(wide, args.device, 8192 if gpu else 1024),
        }
        shares = []
        for name, found in seconds.items():
            ceiling = ceilings["float32" if "float32" in name or "channels_last" in name else "bf16"]
            reached = flops * harness.rate(found, batch)
            shares.append({"": name, "GFLOP/s": reached / 1e9, "of the matrix rate": f"{100 * reached / ceiling:.0f}%"})
        for name, value in ceilings.items():
            shares.append({"": f"matrix product, {name}", "GFLOP/s": value / 1e9})
        report.table(f"Share of the matrix rate; one image costs {flops / 1e9:.1f} GFLOP a step", shares)

        rows = []
        for batch_size in [1, 2] if args.quick else args.batch_sizes:
            v = variant([], batch_size)
            v.turn()
            found = harness.in_turns({"default": v.turn}, rounds)["default"]
            row = {"batch": batch_size, "images/s": harness.rate(found, batch_size), "spread (s)": harness.spread(found)}
            rows.append(row | ({"peak GB": v.peak / 1e9} if gpu else {}))
            del v
        report.table(f"Default engine by batch size: {engine_of(config(Path(folder), *common))}", rows)


if __name__ == "__main__":
    main()

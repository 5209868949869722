"""Check the results of a GPU: Lab against float64, and losses with CUDA graphs against losses without.

A row fails if its value is above its limit; the other rows still run. The difference of the losses of two runs is the
maximum over steps, relative to the maximum of that loss. The limit is ten times the difference of two identical runs
without graphs, and at least 1e-4. Convolutions are deterministic, so that this difference is close to zero.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from benchmarks import harness
from benchmarks.cpu_graphs import cpu_graphs
from benchmarks.train_step import LEVERS, difference, plain_of
from benchmarks.variants import SMALL, Variant, config, fit
from colorize.data.feed import DevicePixels, Picks, StreamedPixels
from colorize.experiments.experiment import build_data, build_module, engine_of
from colorize.lab import l_ab_to_lab, l_ab_to_rgb, rgb_to_l_ab
from colorize.training.callbacks.watch import Watch
from colorize.training.engine import CudaGraphStep

# sRGB's primaries and its white point D65, as scikit-image and Kornia round them
XYZ_OF_RGB = [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
WHITE = [0.95047, 1.0, 1.08883]
DELTA = 6 / 29  # CIE 15:2004
LAB_BAR = 0.002  # units of L*, a*, b*; float32 leaves 0.0002, TF32 would be off by 0.06
RGB_BAR = 0.02  # of 255; float32 leaves 0.001, TF32 would be off by 4
LOSS_BAR = 1e-4  # at least; and ten times what two equal runs differ by
ALONE = ["~callbacks.watch"]  # no batch is looked at
KINDS: dict[str, tuple[int, list[str]]] = {  # how many kinds of turn are recorded, and overrides
    "D and G": (1, ALONE),
    "D and G, bf16": (1, [*ALONE, "trainer.precision=bf16-mixed"]),
    "R1 at every second batch": (2, [*ALONE, "loss.r1=1", "loss.penalty_every=2", "discriminator.norm=none"]),
    "a look at every second batch": (2, ["callbacks.watch.every_n_batches=2"]),
    "G at every second batch": (2, [*ALONE, "game.G_every=2"]),
    "D at every second batch": (2, [*ALONE, "game.D_every=2"]),
    "warm-ups: G, D, then both": (3, [*ALONE, "game.warmup_G=0.35", "game.warmup_D=0.35"]),
    "mean generator, noise, DiffAugment, clipping, feature matching": (
        1,
        [*ALONE, "stabilizer=[ema,instance_noise,diffaugment,clip,feature_matching]"],
    ),
}


def lab_of(rgb: Tensor) -> Tensor:
    """Convert sRGB ``(B, 3, H, W)`` float64 in [0, 1] to CIE Lab, by the formulas of IEC 61966-2-1 and CIE 15:2004."""
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = torch.einsum("ij,bjhw->bihw", rgb.new_tensor(XYZ_OF_RGB), linear) / rgb.new_tensor(WHITE).view(3, 1, 1)
    fx, fy, fz = torch.where(xyz > DELTA**3, xyz ** (1 / 3), xyz / (3 * DELTA**2) + 4 / 29).unbind(1)
    return torch.stack([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)], dim=1)


def all_colors(step: int) -> Tensor:
    """Return every ``step``-th level of each channel with every other: ``(1, 3, N, N * N)`` float64 in [0, 1]."""
    levels = torch.arange(0, 256, step, dtype=torch.float64) / 255
    return torch.cartesian_prod(levels, levels, levels).T.reshape(1, 3, len(levels), -1)


def apart(found: Tensor, expected: Tensor) -> float:
    """Return the largest difference of two tables of losses ``(steps, losses)``, as a share of each loss's largest."""
    if found.shape != expected.shape or not torch.equal(found.isnan(), expected.isnan()):
        raise RuntimeError(f"losses of {len(found)} and {len(expected)} steps, or NaN at different ones")
    found, expected = found.nan_to_num(), expected.nan_to_num()
    return ((found - expected).abs().amax(0) / expected.abs().amax(0).clamp(min=1e-12)).max().item()


class Losses(Callback):
    """Keeps the losses of every step and counts the graphs; does something else before a batch, or after it.

    Args:
        before: by batch, what is done to the module.
        after: by batch, what is done with the trainer.
    """

    def __init__(
        self,
        before: dict[int, Callable[[LightningModule], Any]] | None = None,
        after: dict[int, Callable[[Trainer], Any]] | None = None,
    ) -> None:
        self.before, self.after = before or {}, after or {}
        self.seen: list[Tensor] = []
        self.graphs = 0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Do what is to be done before."""
        self.before.get(batch_idx, lambda module: None)(pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the losses, and do what is to be done after."""
        self.seen.append(pl_module.outcome.losses.clone())
        self.graphs = max(self.graphs, len(getattr(pl_module.run_step, "graphs", ())))
        self.after.get(batch_idx, lambda trainer: None)(trainer)


class Results:
    """The checks, each a row; without a GPU small, with a stand-in for CUDA graphs.

    Args:
        folder: for a store and runs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.gpu = torch.cuda.is_available()
        self.device = torch.device("cuda" if self.gpu else "cpu")
        self.steps, size = (50, 256) if self.gpu else (14, 64)
        self.common = ["trainer=gpu"] if self.gpu else [*SMALL, "trainer=cpu"]
        self.common += ["batch_size=4", f"trainer.limit_train_batches={self.steps}", "trainer.log_every_n_steps=2"]
        self.store = harness.synthetic_store(folder / "results", 4 * self.steps, 0, size)
        self.failed: list[Any] = []  # graphs that could not be recorded; torch must not lose them

    def rows(self) -> list[dict[str, Any]]:
        """Go through all checks."""
        graphs = "graphs" if self.gpu else "a stand-in for graphs"
        checks: dict[str, Callable[[], tuple[float, float]]] = {
            "Lab of all colors, against float64": self.lab,
            "RGB of their Lab, of 255": self.rgb,
            "Lab of batches kept on the GPU": partial(self.batches, DevicePixels),
            "Lab of batches that are streamed": partial(self.batches, StreamedPixels),
            "engine=plain, against the report's loop in plain PyTorch": self.plain_loop,
        }
        for name, (kinds, overrides) in KINDS.items():
            checks[f"{graphs}: {name}"] = partial(self.captured, kinds, overrides)
        checks[f"{graphs}: roll-back from a weight that is no number"] = self.rolled_back
        checks["resumed within an epoch"] = partial(self.resumed, 0)
        checks[f"{graphs}: resumed within an epoch"] = partial(self.resumed, 1)
        checks[f"{graphs}: a step that cannot be recorded"] = self.not_recorded
        with settled():
            return [self._row(name, check) for name, check in checks.items()]

    def _row(self, name: str, check: Callable[[], tuple[float, float]]) -> dict[str, Any]:
        try:
            measured, bar = check()
        except Exception as error:  # of one row: the others go on
            measured, bar = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"[:120], ""
        passed = bar != "" and measured <= bar
        return {"": name, "measured": measured, "bar": bar, "verdict": "PASS" if passed else "FAIL"}

    def lab(self) -> tuple[float, float]:
        """Convert colors to Lab."""
        rgb = all_colors(5)
        found = l_ab_to_lab(*rgb_to_l_ab(rgb.float().to(self.device)))
        return (found.cpu() - lab_of(rgb)).abs().max().item(), LAB_BAR

    def rgb(self) -> tuple[float, float]:
        """Convert the reference's Lab back."""
        rgb = all_colors(5)
        lab = lab_of(rgb).float().to(self.device)
        found = l_ab_to_rgb(lab[:, :1] / 50 - 1, lab[:, 1:] / 110)
        return 255 * (found.cpu() - rgb).abs().max().item(), RGB_BAR

    def batches(self, kind: type[StreamedPixels]) -> tuple[float, float]:
        """Convert batches as training does, one after another, while the GPU is kept busy."""
        feed, worst = kind(self.store, self.device), 0.0
        draw = torch.Generator().manual_seed(0)
        picks = [Picks(rows, torch.rand(len(rows), generator=draw) < 0.5) for rows in self.store.train_rows.split(4)]
        busy = torch.ones(2048, 2048, device=self.device) if self.gpu else torch.ones(1, 1)
        taken = [(feed.take(pick), busy @ busy)[0] for pick in picks]
        for pick, batch in zip(picks, taken, strict=True):
            rgb = self.store.gather(pick.rows).double() / 255
            rgb[pick.flips] = rgb[pick.flips].flip(-1)
            worst = max(worst, (l_ab_to_lab(batch.L, batch.ab).cpu() - lab_of(rgb)).abs().max().item())
        return worst, LAB_BAR

    def plain_loop(self) -> tuple[float, float]:
        """Step with every lever off, and with a transcription of the report's loop."""
        overrides = [*self.common, *next(iter(LEVERS.values()))]
        variant = Variant(overrides, 4, self.store, self.folder, 1, self.steps - 1)
        return difference(variant, plain_of(variant, str(self.device))), LOSS_BAR

    def captured(self, kinds: int, overrides: list[str]) -> tuple[float, float]:
        """Train without graphs, twice, and with."""
        eager, again, captured = (self.losses(overrides, kinds=kinds) for kinds in (0, 0, kinds))
        return apart(captured, eager), bar(again, eager)

    def rolled_back(self) -> tuple[float, float]:
        """Go back from a weight that is no number, and on with lower learning rates."""
        overrides = ["callbacks.watch.policy=rollback", f"callbacks.watch.every_n_batches={self.steps}"]
        spoil = {self.steps // 3: lambda module: next(module.generator.parameters()).data.fill_(torch.nan)}
        eager, again, captured = (self.losses(overrides, kinds=kinds, before=spoil) for kinds in (0, 0, 1))
        return apart(captured, eager), bar(again, eager)

    def resumed(self, kinds: int) -> tuple[float, float]:
        """Go on from the checkpoint of half an epoch, in a new module."""
        half, path = self.steps // 2, self.folder / f"half-{kinds}.ckpt"
        save = {half - 1: lambda trainer: trainer.save_checkpoint(path)}
        whole, again = (self.losses(ALONE, kinds=kinds, after=save) for _ in range(2))
        rest = self.losses(ALONE, kinds=kinds, ckpt_path=path)
        return apart(rest, whole[half:]), bar(again, whole)

    def not_recorded(self) -> tuple[float, float]:
        """Wait for the device in the middle of the recording: all goes on without graphs, and as before."""
        eager, again = (self.losses(ALONE) for _ in range(2))
        found = self.losses(ALONE, kinds=1, waits=True)
        if self.gpu:
            torch.cuda.empty_cache()  # raises where torch still believes that something is recorded
        return apart(found, eager), bar(again, eager)

    def losses(
        self,
        overrides: list[str],
        kinds: int = 0,
        ckpt_path: Path | None = None,
        waits: bool = False,
        **moments: Any,
    ) -> Tensor:
        """Train; return the losses of every step ``(steps, losses)``, NaN where there are none.

        Args:
            overrides: of ``conf/train.yaml``.
            kinds: of turn that must be recorded; 0 trains without graphs.
            ckpt_path: what training goes on from.
            waits: whether D's forward pass in G's step waits for the device.
            **moments: arguments of `Losses`.
        Raises:
            RuntimeError: if other graphs were made, or training did not go back where it was to.
        """
        # A graph's learning rate is float32, which rounds the default, and training soon shows even that
        cfg = config(self.folder / "run", f"lr={2**-12}", *self.common, *overrides)
        engine = replace(engine_of(cfg), cuda_graphs=kinds > 0)
        module, data, losses = build_module(cfg, engine), build_data(cfg, engine), Losses(**moments)
        data.store = self.store
        if waits:
            module.discriminator.register_forward_hook(_wait_in_the_step_of_g)
        with contextlib.nullcontext() if self.gpu else cpu_graphs():
            trainer = fit(cfg, module, data, losses, ckpt_path=ckpt_path)
        failed = len(CudaGraphStep.failed)
        self.failed += CudaGraphStep.failed
        CudaGraphStep.failed.clear()
        if (losses.graphs, failed) != ((0, 1) if waits else (kinds, 0)):
            raise RuntimeError(f"{losses.graphs} of {kinds} kinds of step recorded, {failed} failed")
        watches = [callback for callback in trainer.callbacks if isinstance(callback, Watch)]
        went_back = sum(watch.summary()["rollbacks"] for watch in watches)
        if went_back != ("before" in moments):
            raise RuntimeError(f"training went back {went_back} times")
        return torch.stack(losses.seen).double().cpu()


def bar(again: Tensor, eager: Tensor) -> float:
    """Return what losses may differ by, from what those of equal runs differ by."""
    return max(LOSS_BAR, 10 * apart(again, eager))


def _wait_in_the_step_of_g(discriminator: nn.Module, inputs: Any, logits: Tensor) -> None:
    if not next(discriminator.parameters()).requires_grad:
        logits.sum().item()


@contextlib.contextmanager
def settled() -> Iterator[None]:
    """Let cuDNN take deterministic algorithms only, and the CPU one thread: without a GPU, networks are small."""
    before, threads = torch.backends.cudnn.deterministic, torch.get_num_threads()
    torch.backends.cudnn.deterministic = True
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic = before
        torch.set_num_threads(threads)

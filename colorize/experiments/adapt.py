"""Train a model on for minutes on one's own photographs, and keep it only where held-out ones are colored better."""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, open_dict
from torch import Tensor, nn

import colorize
from colorize.base.checks import above
from colorize.base.errors import UserError
from colorize.checkpoint import load_generator, read_model
from colorize.data import ColorizationDataModule
from colorize.data.sources import FolderSource
from colorize.experiments.experiment import build_data, engine_of, train
from colorize.export import export
from colorize.metrics.gain import gain_sums, l1_at_cf

CONF = Path(colorize.__file__).parent / "conf"
LEAST = 50  # photographs: with fewer than 10 held out an interval says nothing
RESAMPLES, LEVEL = 2000, 0.95


@dataclass(frozen=True)
class Adapted:
    """What came of it.

    Attributes:
        trained_on: photographs.
        held_out: photographs, which neither training nor any choice has seen.
        minutes: in all.
        before: `l1_at_cf` of the held-out photographs, colored by the model that it started from.
        after: the same by the adapted one.
        interval: of ``after - before``, 95%, by drawing the held-out photographs again with replacement.
    """

    trained_on: int
    held_out: int
    minutes: float
    before: float
    after: float
    interval: tuple[float, float]

    @property
    def better(self) -> bool:
        """Whether the whole interval is below 0."""
        return self.interval[1] < 0


def adapt(folder: Path, out: Path, checkpoint: str, minutes: float = 10.0) -> Adapted:
    """Train a model on for minutes on a folder of photographs, its encoder frozen, and export it if it got better.

    The last weights count, so that nothing is chosen by the held-out fifth, which alone decides.

    Args:
        folder: of at least 50 color photographs.
        out: folder to make, as `colorize.export.export` does, with float16 weights and a gain of its own; it is made
            only if the result is better.
        checkpoint: to start from, see `colorize.checkpoint.read_model`.
        minutes: of training, at most.
    Raises:
        UserError: if the folder, the checkpoint or the minutes will not do, or ``out`` exists.
    """
    started = time.perf_counter()
    above("minutes", minutes, 0)
    if out.exists():
        raise UserError(f"{out} exists already; name a new folder with --out")
    if len(found := FolderSource(str(folder)).paths) < LEAST:
        raise UserError(f"{folder} holds {len(found)} photographs; to adapt takes at least {LEAST}")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as work:
        cfg = _config(folder, Path(work), checkpoint, minutes)
        train(cfg)
        last = Path(work) / "checkpoints/last.ckpt"
        data = build_data(cfg, engine_of(cfg))
        data.setup("validate")
        sums = [_sums(load_generator(name)[0], data) for name in (checkpoint, last)]
        before, after = (l1_at_cf(each.sum(0)).item() for each in sums)
        adapted = Adapted(
            len(data.store.train_rows),
            len(data.store.val_rows),
            (time.perf_counter() - started) / 60,
            before,
            after,
            paired_interval(*sums),
        )
        if adapted.better:
            export(last, out, half=True, calibrate=True)
    return adapted


def paired_interval(before: Tensor, after: Tensor, seed: int = 0) -> tuple[float, float]:
    """Return the 95% bootstrap interval of the difference in `l1_at_cf` of two models on the same images.

    Args:
        before: ``(N, SUMS)``, `gain_sums` of each image.
        after: the same by the other model.
        seed: of the draws.
    Returns:
        its ends; NaN if a model is too grey to reach the truth's colorfulness.
    """
    draw = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(RESAMPLES):
        rows = torch.randint(len(before), (len(before),), generator=draw)
        found.append(l1_at_cf(after[rows].sum(0)) - l1_at_cf(before[rows].sum(0)))
    ends = torch.stack(found).quantile(torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    return tuple(ends.tolist())


def _config(folder: Path, work: Path, checkpoint: str, minutes: float) -> DictConfig:
    """Compose ``experiment=adapt`` for the generator that the checkpoint has."""
    model = read_model(checkpoint)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", ["experiment=adapt", "~callbacks.samples"])
    frozen = {"frozen": "all"} if "frozen" in model.generator else {}
    with open_dict(cfg):
        cfg.generator = model.generator | frozen
    cfg.loss.lambda_bins *= "bins" in model.generator.get("heads", ())
    cfg.init_from = checkpoint
    cfg.image_size = model.image_size
    cfg.max_minutes = minutes
    cfg.run_dir = str(work)
    cfg.data.root = str(folder)
    cfg.data.store_dir = str(work / "stores")
    return cfg


@torch.inference_mode()
def _sums(generator: nn.Module, data: ColorizationDataModule) -> Tensor:
    """Return `gain_sums` of each held-out image, ``(N, SUMS)``."""
    found = []
    for picks in data.val_dataloader():
        batch = data.val_batch(picks.rows, torch.device("cpu"))
        ab = generator(batch.L)
        found += [gain_sums(batch.L[i : i + 1], ab[i : i + 1], batch.ab[i : i + 1]) for i in range(len(ab))]
    return torch.stack(found)

"""Fine-tune a model on the user's photographs, and keep it only if it colorizes held-out ones better."""

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
LEAST = 50  # photographs: with fewer than 10 held-out ones, an interval means nothing
RESAMPLES, LEVEL = 2000, 0.95


@dataclass(frozen=True)
class Adapted:
    """The result of `adapt`.

    Attributes:
        trained_on: number of training photographs.
        held_out: number of held-out photographs, which neither training nor any choice has used.
        minutes: total time.
        before: `l1_at_cf` of the initial model on the held-out photographs.
        after: `l1_at_cf` of the adapted model on the held-out photographs.
        interval: 95% bootstrap interval of ``after - before`` over the held-out photographs.
    """

    trained_on: int
    held_out: int
    minutes: float
    before: float
    after: float
    interval: tuple[float, float]

    @property
    def better(self) -> bool:
        """Return whether the whole interval is below 0."""
        return self.interval[1] < 0


def adapt(folder: Path, out: Path, checkpoint: str, minutes: float = 10.0) -> Adapted:
    """Fine-tune a model on a folder of photographs, its encoder frozen, and export it if it improved.

    The last weights are evaluated, so that the held-out fifth is used for this one decision only.

    Args:
        folder: folder of at least 50 color photographs.
        out: folder to create, as by `colorize.export.export`, with float16 weights and a calibrated gain; created only
            if the result is better.
        checkpoint: initial model, see `colorize.checkpoint.read_model`.
        minutes: maximum training time.
    Raises:
        UserError: if the folder, the checkpoint or the minutes are invalid, or ``out`` exists.
    """
    started = time.perf_counter()
    above("minutes", minutes, 0)
    if out.exists():
        raise UserError(f"{out} exists already; name a new folder with --out")
    if len(found := FolderSource(str(folder)).paths) < LEAST:
        raise UserError(f"{folder} holds {len(found)} photographs; adapting needs at least {LEAST}")
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
        after: ``(N, SUMS)`` of the other model.
        seed: seed of the resamples.
    Returns:
        lower and upper bound; NaN if a model is too grey to reach the true colorfulness.
    """
    draw = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(RESAMPLES):
        rows = torch.randint(len(before), (len(before),), generator=draw)
        found.append(l1_at_cf(after[rows].sum(0)) - l1_at_cf(before[rows].sum(0)))
    ends = torch.stack(found).quantile(torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    return tuple(ends.tolist())


def _config(folder: Path, work: Path, checkpoint: str, minutes: float) -> DictConfig:
    """Compose ``experiment=adapt`` with the checkpoint's generator."""
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

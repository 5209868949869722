"""Score each objective on generated scenes, and test whether provoked training failures are detected and repaired.

python -m benchmarks.stability             # about 25 minutes on 2 cores: 5 runs of the demo's length, 12 short ones
python -m benchmarks.stability --only failures
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from lightning.pytorch import Callback, LightningModule, Trainer
from omegaconf import DictConfig

from benchmarks import harness
from benchmarks.variants import SMALL
from colorize.data import Batch
from colorize.experiments.experiment import build_data, engine_of, train
from colorize.losses import MODES

SHORT = ["generator.num_filters=16", "discriminator.num_filters=16", "data.num_train=800", "data.num_val=200"]
QUICK = [*SMALL, "data.num_train=64", "data.num_val=16", "max_epochs=2", "callbacks.watch.every_n_batches=1"]
FAILURES = {
    "none": [],
    "D's lr x 50": ["lr_ratio=50"],
    "G's lr x 50": ["optim.generator.lr=1e-2"],
    "lr 0.1": ["lr=0.1"],
    "lambda_L1 0": ["lambda_L1=0"],
    "60 batches of one color": [f"+callbacks.one_color={{_target_: {__name__}.OneColor, first: 250, batches: 60}}"],
}


class OneColor(Callback):
    """Makes all images of some batches one and the same color."""

    def __init__(self, first: int, batches: int) -> None:
        self.spoiled = range(first, first + batches)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        """Spoil the batch."""
        if pl_module.batches in self.spoiled:
            batch.L.fill_(0.1)
            batch.ab.fill_(0.3)


def run(folder: Path, overrides: list[str]) -> tuple[DictConfig, dict[str, Any]]:
    """Train on scenes; return the config and ``summary.json``."""
    fixed = ["experiment=demo", f"run_dir={folder}", "~callbacks.progress"]
    with initialize_config_dir(str(Path("conf").resolve()), version_base="1.3"):
        cfg = compose("train", [*fixed, *overrides])
    train(cfg)
    return cfg, json.loads((folder / "summary.json").read_text())


def states(summary: dict[str, Any]) -> str:
    """Return the states seen, in shares of the looks."""
    seen = {state: count for state, count in summary["states"].items() if count}
    return ", ".join(f"{state} {100 * count / sum(seen.values()):.0f}%" for state, count in seen.items())


def grey_l1(cfg: DictConfig) -> float:
    """Return the mean absolute ab of the validation images: the L1 of no color."""
    data = build_data(cfg, engine_of(cfg))
    data.setup("validate")
    return data.val_batch(data.store.val_rows, torch.device("cpu")).ab.abs().mean().item()


def objectives(report: harness.Report, folder: Path, common: list[str]) -> None:
    """Train with each ``gan_mode``."""
    rows = []
    for mode in MODES:
        cfg, summary = run(folder / mode, [f"gan_mode={mode}", *common])
        metrics = summary["metrics"]
        rows.append(
            {
                "gan_mode": mode,
                "L1": metrics["val/l1"],
                "of grey's": metrics["val/l1"] / grey_l1(cfg),
                "colorfulness": metrics["val/colorfulness_abs"],
                "off the truth's": metrics["val/delta_colorfulness"],
                "out of gamut": f"{metrics['val/out_of_gamut']:.2%}",
                "states": states(summary),
                "images/s": summary["images_per_s"],
            }
        )
    report.table(
        f"Objectives: {cfg.max_epochs} epochs of {cfg.data.num_train} scenes, {cfg.image_size}x{cfg.image_size}", rows
    )


def failures(report: harness.Report, folder: Path, common: list[str]) -> None:
    """Make training fail; once only watched, once rolled back."""
    rows = []
    for number, (name, overrides) in enumerate(FAILURES.items()):
        watched = run(folder / f"{number}-warn", [*overrides, *common])[1]
        mended = run(folder / f"{number}-rollback", [*overrides, *common, "callbacks.watch.policy=rollback"])[1]
        rows.append(
            {
                "failure": name,
                "states": states(watched),
                "L1": watched["metrics"]["val/l1"],
                "roll-backs": mended["rollbacks"],
                "ends": mended["state"],
                "L1 then": mended["metrics"]["val/l1"],
            }
        )
    report.table("Failures: watched, and rolled back", rows)


def main() -> None:
    """Measure and print."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--only", choices=("objectives", "failures"))
    args = parser.parse_args()
    report = harness.Report("stability")
    with tempfile.TemporaryDirectory() as temporary:
        quick = QUICK if args.quick else []
        if args.only != "failures":
            objectives(report, Path(temporary), quick)
        if args.only != "objectives":
            failures(report, Path(temporary), [*SHORT, *quick])


if __name__ == "__main__":
    main()

"""Evaluate checkpoints on held-out images, with grey and the ground truth for comparison: scores, table, picture."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, ListConfig
from rich.console import Console
from rich.progress import track
from torch import Tensor

from colorize.base.errors import UserError, first_line
from colorize.base.files import replacing, write_csv, write_json
from colorize.base.provenance import commit
from colorize.checkpoint import WEIGHTS, Model, load_generator, read_model
from colorize.data import Batch, ColorizationDataModule
from colorize.experiments.held_out import Models, data_options, hold_out
from colorize.experiments.score_table import print_scores
from colorize.grids import colorization_columns, picture_grid
from colorize.inference.pytorch import choose_device
from colorize.lab import l_ab_to_lab, l_ab_to_rgb, to_uint8
from colorize.metrics import ImageScores, PerceptualScores, bootstrap, ciede2000
from colorize.metrics.judge import SCORES, Judge, JudgeScores, judge_missing, own_encoder
from colorize.training import ColorizationModule
from colorize.training.module import RAW, SCORED
from colorize.vocabulary import EVALUATED

GREY, TRUTH = "grey", "ground truth"
ERROR_WHITE = 40.0  # CIEDE2000 difference that the picture shows as white

ScoreRow = dict[str, Any]  # metric to value; the key "ci95" maps metrics to (low, high)
Predict = Callable[[Batch], tuple[Tensor, dict[str, Tensor]]]  # returns ab (B, 2, H, W) and losses, if any


def evaluate(cfg: DictConfig) -> dict[str, ScoreRow]:
    """Score the checkpoints of ``conf/eval.yaml`` and write the results into ``run_dir``.

    Returns:
        Metrics by row: grey, ground truth, and each checkpoint by its path.
    Raises:
        UserError: if a checkpoint or the data is invalid.
    """
    paths = [str(path) for path in cfg.ckpt_path] if isinstance(cfg.ckpt_path, ListConfig) else [str(cfg.ckpt_path)]
    models = {path: read_model(path) for path in paths}
    cfg.image_size = cfg.image_size or _common_image_size(models)
    device = choose_device(cfg.device)
    options = data_options(cfg, models)
    data = ColorizationDataModule(**options)
    data.setup("validate")
    if not len(data.store.val_rows):
        raise UserError(f"data.num_val={data.num_val}: there is no image to evaluate")
    notes = hold_out(data.store, options, models)
    predictors: dict[str, Predict] = {
        GREY: lambda batch: (torch.zeros_like(batch.ab), {}),
        TRUTH: lambda batch: (batch.ab, {}),
    }
    trained: dict[str, Predict] = {}
    for path, model in models.items():
        trained |= _predictors(path, model, device)
    no_judge = _no_judge(models) if cfg.judge else None
    judged = JudgeScores(Judge().to(device)) if cfg.judge and not no_judge else None
    rows = {name: _score(name, data, device, cfg, predict, judged) for name, predict in (predictors | trained).items()}
    about = {
        "data": options,
        "store": data.store.folder.name,
        "images": len(data.store.val_rows),
        "notes": notes,
        "commit": commit(),
    }
    _write(Path(cfg.run_dir), rows, about)
    _draw(Path(cfg.run_dir) / "picture.png", data, trained, device, cfg.num_pictures)
    missing = PerceptualScores(cfg.weights_dir).missing + ([no_judge] if no_judge else [])
    _report(Path(cfg.run_dir), rows, about, missing)
    return rows


def _no_judge(models: Models) -> str | None:
    """Return why the judge cannot be used; ``None`` if it can."""
    own = [path for path, model in models.items() if own_encoder(model.generator)]
    return f"{SCORES}: the judge is the encoder of {', '.join(own)}" if own else judge_missing()


def _predictors(path: str, model: Model, device: torch.device) -> dict[str, Predict]:
    """Return the predictors of a model's rows, with the default gain of an exported model.

    A training checkpoint has no gain, but losses of D. If it has a moving average of the weights, the first row is that
    of the average and the second that of the raw generator.
    """
    if model.file.name == WEIGHTS:
        generator, gain = load_generator(path)[0].to(device), model.about.get("gain", 1.0)
        return {path: lambda batch: ((gain * generator(batch.L)).clamp(-1, 1), {})}
    try:
        module = ColorizationModule.load_from_checkpoint(path, device, weights_only=True).eval()
    except (TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise UserError(f"checkpoint {path} was not written by colorize's training ({first_line(error)})") from None
    names = {SCORED: path, RAW: f"{path} (raw)"}
    return {
        names[prefix]: partial(module.predict_and_score, generator=generator)
        for prefix, generator in module.scored_generators().items()
    }


def _common_image_size(models: Models) -> int:
    sizes = {path: model.image_size for path, model in models.items()}
    if len(set(sizes.values())) > 1:
        raise UserError(f"the checkpoints were trained at several sizes ({sizes}): set image_size")
    return next(iter(sizes.values()))


@torch.inference_mode()
def _score(
    name: str,
    data: ColorizationDataModule,
    device: torch.device,
    cfg: DictConfig,
    predict: Predict,
    judged: JudgeScores | None,
) -> ScoreRow:
    """Compute one row's scores over the validation images."""
    scores = ImageScores().to(device)
    perceptual = PerceptualScores(cfg.weights_dir, device)
    if judged:
        judged.restart()
    losses: dict[str, float] = {}
    count = len(data.store.val_rows)
    for picks in track(data.val_dataloader(), description=Path(name).name):
        batch = data.val_batch(picks.rows, device)
        ab, batch_losses = predict(batch)
        scores.update(batch.L, ab, batch.ab)
        perceptual.update(to_uint8(l_ab_to_rgb(batch.L, ab)), to_uint8(l_ab_to_rgb(batch.L, batch.ab)))
        if judged:
            judged.update(batch.L, ab, batch.ab, batch.ids)
        for key, value in batch_losses.items():
            losses[key] = losses.get(key, 0.0) + value.item() * len(batch.L) / count
    row: ScoreRow = {key: value.item() for key, value in scores.compute().items() if value.isfinite()}
    row |= losses | perceptual.compute() | (judged.compute() if judged else {})
    row["ci95"] = {k: list(v) for k, v in bootstrap(scores.per_image(), cfg.resamples).items()}
    return row


def _write(run_dir: Path, rows: dict[str, ScoreRow], about: dict[str, Any]) -> None:
    """Write ``metrics.json``, ``metrics.csv`` and ``metrics.md``."""
    write_json(run_dir / "metrics.json", about | {"rows": rows})
    names = list(dict.fromkeys(key for row in reversed(rows.values()) for key in row if key != "ci95"))
    header = ["row", *names, *(f"{name}_{end}" for name in names for end in ("low", "high"))]
    table = []
    for name, row in rows.items():
        ends = {f"{k}_{e}": v for k, ci in row["ci95"].items() for e, v in zip(("low", "high"), ci, strict=True)}
        table.append({"row": name} | {k: v for k, v in row.items() if k != "ci95"} | ends)
    write_csv(run_dir / "metrics.csv", header, table)
    with replacing(run_dir / "metrics.md") as path:
        path.write_text(markdown_table(rows, about["images"], about["notes"]))


def markdown_table(rows: dict[str, ScoreRow], images: int, notes: list[str]) -> str:
    """Return the rows' main metrics with their 95% intervals as a Markdown table, followed by the notes."""
    names = _table_metrics(rows)
    lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for name, row in rows.items():
        lines.append(f"| {name} | " + " | ".join(_cell(row, metric) for metric in names) + " |")
    lines += ["", f"{images} images; in brackets the 95% bootstrap interval.", ""]
    return "\n".join([*lines, *(f"- {note}" for note in notes), *([""] if notes else [])])


def _table_metrics(rows: dict[str, ScoreRow]) -> list[str]:
    return [name for name in EVALUATED if any(name in row for row in rows.values())]


def _cell(row: ScoreRow, metric: str) -> str:
    if metric not in row:
        return ""
    interval = row["ci95"].get(metric)
    return f"{row[metric]:.4g}" + (f" [{interval[0]:.4g}, {interval[1]:.4g}]" if interval else "")


@torch.inference_mode()
def _draw(
    path: Path, data: ColorizationDataModule, trained: dict[str, Predict], device: torch.device, count: int
) -> None:
    """Draw the first validation images: grey, each checkpoint's colors, real, each checkpoint's error."""
    batch = data.val_batch(data.store.val_rows[:count], device)
    columns: dict[str, Tensor] = {}
    errors: dict[str, Tensor] = {}
    for number, predict in enumerate(trained.values(), start=1):
        which = f" {number}" if len(trained) > 1 else ""
        ab, _ = predict(batch)
        three = colorization_columns(batch.L, ab, batch.ab)
        columns |= {"grey": three["grey"], f"generated{which}": three["generated"]}
        error = ciede2000(l_ab_to_lab(batch.L, ab), l_ab_to_lab(batch.L, batch.ab)) / ERROR_WHITE
        errors[f"error{which}"] = to_uint8(error.clamp(0, 1))[:, None].expand(-1, 3, -1, -1).cpu()
    with replacing(path) as temporary:
        picture_grid(columns | {"real": three["real"]} | errors).save(temporary)


def _report(run_dir: Path, rows: dict[str, ScoreRow], about: dict[str, Any], missing: list[str]) -> None:
    print_scores(rows, (GREY, TRUTH), _table_metrics(rows), Console())
    print(f"{about['images']} images; in brackets the 95% bootstrap interval.")
    for line in about["notes"]:
        print(line)
    for line in missing:
        print(f"left out: {line}")
    for name, row in rows.items():
        if name not in (GREY, TRUTH):
            ratio = row["l1"] / rows[GREY]["l1"]
            print(f"{name}: L1 {row['l1']:.4f}, {ratio:.2f} of grey's {rows[GREY]['l1']:.4f}")
    print(f"scores: {run_dir / 'metrics.json'}\npicture: {run_dir / 'picture.png'}")

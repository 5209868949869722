"""`eval.py`: rows, files, several checkpoints, and messages about missing weights."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image
from rich.console import Console
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from colorize.base.errors import UserError
from colorize.experiments.evaluation import evaluate
from colorize.experiments.experiment import train
from colorize.experiments.score_table import print_scores
from colorize.vocabulary import EVALUATED
from tests.conftest import ROOT, small_config


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory, photos) -> list[Path]:
    """Make the checkpoints of two runs."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("a", "b"):
        train(small_config(photos, folder / name, "max_epochs=1", f"seed={ord(name)}"))
    return [folder / name / "checkpoints/best.ckpt" for name in ("a", "b")]


@pytest.fixture
def make_config(photos, tmp_path):
    def make(*overrides: str):
        fixed = [
            "data=folder", f"data.root={photos}", f"data.store_dir={photos.parent / 'stores'}",
            f"run_dir={tmp_path}", "batch_size=2", "resamples=50", f"weights_dir={tmp_path}", "device=cpu",
            "judge=false",
        ]  # fmt: skip
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            return compose("eval", [*fixed, *overrides])

    return make


def test_grey_and_truth_stand_beside_the_model(make_config, checkpoints) -> None:
    rows = evaluate(make_config(f"ckpt_path={checkpoints[0]}"))
    assert list(rows) == ["grey", "ground truth", str(checkpoints[0])]
    assert rows["grey"]["colorfulness"] < 1 < rows["ground truth"]["colorfulness"]
    assert rows["ground truth"]["l1"] == 0 < rows[str(checkpoints[0])]["l1"]


def test_grey_has_no_l1_at_the_truths_colorfulness(make_config, checkpoints, tmp_path) -> None:
    rows = evaluate(make_config(f"ckpt_path={checkpoints[0]}"))
    assert "l1_at_cf" not in rows["grey"] and rows["ground truth"]["l1_at_cf"] == 0
    assert "NaN" not in (tmp_path / "metrics.json").read_text()


def test_the_mean_generator_has_the_checkpoints_row_beside_the_raw_one(make_config, photos, tmp_path) -> None:
    train(small_config(photos, tmp_path / "run", "max_epochs=1", "stabilizer=[ema]"))
    path = tmp_path / "run/checkpoints/best.ckpt"
    rows = evaluate(make_config(f"ckpt_path={path}"))
    metrics = json.loads((tmp_path / "run/summary.json").read_text())["metrics"]
    assert rows[str(path)]["l1"] == pytest.approx(metrics["val/l1"], rel=0.02)
    assert rows[f"{path} (raw)"]["l1"] == pytest.approx(metrics["val/raw_l1"], rel=0.02)


def test_scores_are_those_of_the_pictures(make_config, checkpoints, tmp_path) -> None:
    """PSNR and SSIM of the grey row, computed by scikit-image from the picture's own columns."""
    rows = evaluate(make_config(f"ckpt_path={checkpoints[0]}", "num_pictures=5"))
    with Image.open(tmp_path / "picture.png") as opened:
        picture = opened.copy()
    psnr, ssim = [], []
    for y in range(5):
        top = 22 + y * 132
        cells = [picture.crop((4 + x * 132, top, 132 + x * 132, top + 128)) for x in (0, 2)]
        grey, real = (np.asarray(cell.resize((64, 64), Image.Resampling.NEAREST)) for cell in cells)
        psnr.append(peak_signal_noise_ratio(real, grey))
        ssim.append(structural_similarity(real, grey, channel_axis=2))
    assert rows["grey"]["psnr"] == pytest.approx(sum(psnr) / 5, rel=1e-5)
    assert rows["grey"]["ssim"] == pytest.approx(sum(ssim) / 5, rel=1e-5)


def test_scores_are_those_of_the_last_validation(make_config, checkpoints) -> None:
    row = evaluate(make_config(f"ckpt_path={checkpoints[0]}"))[str(checkpoints[0])]
    metrics = json.loads((checkpoints[0].parent.parent / "summary.json").read_text())["metrics"]
    for name in ("loss_D_fake", "loss_D", "loss_G", "l1", "psnr", "delta_colorfulness"):
        assert row[name] == pytest.approx(metrics[f"val/{name}"], rel=0.02)  # batches of another size


def test_the_files_agree(make_config, checkpoints, tmp_path) -> None:
    rows = evaluate(make_config(f"ckpt_path={checkpoints[0]}"))
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert written["images"] == 5 and written["rows"]["grey"]["l1"] == rows["grey"]["l1"]
    with (tmp_path / "metrics.csv").open() as file:
        table = {row["row"]: row for row in csv.DictReader(file)}
    assert float(table["grey"]["l1_low"]) <= float(table["grey"]["l1"]) <= float(table["grey"]["l1_high"])
    assert "| grey | " in (tmp_path / "metrics.md").read_text()


def test_several_checkpoints_share_a_table_and_a_picture(make_config, checkpoints, tmp_path) -> None:
    rows = evaluate(make_config(f"ckpt_path=[{checkpoints[0]},{checkpoints[1]}]"))
    assert list(rows)[2:] == [str(path) for path in checkpoints]
    with Image.open(tmp_path / "picture.png") as picture:
        assert picture.width == 6 * 132 + 4  # grey, two generated, real, two errors


def test_missing_weights_are_named_in_a_line_each(make_config, checkpoints, capsys, tmp_path) -> None:
    evaluate(make_config(f"ckpt_path={checkpoints[0]}"))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("left out: ")]
    assert len(lines) == 3
    for file in ("weights-inception-2015-12-05-6726825d.pth", "alexnet-owt-7be5be79.pth", "vgg16-397923af.pth"):
        assert sum(file in line and str(tmp_path) in line for line in lines) == 1


@pytest.mark.slow
def test_lpips_is_scored_where_its_weights_are(make_config, checkpoints, tmp_path) -> None:
    from torchvision.models import alexnet

    torch.save(alexnet(weights=None).state_dict(), tmp_path / "alexnet-owt-7be5be79.pth")
    rows = evaluate(make_config(f"ckpt_path={checkpoints[0]}"))
    assert rows["ground truth"]["lpips_alex"] == 0 < rows["grey"]["lpips_alex"]


@pytest.mark.parametrize("models", [1, 2, 5])
def test_the_table_fits_80_columns_and_has_every_value(models) -> None:
    paths = [f"outputs/2026-01-01/10-00-0{number}/checkpoints/best.ckpt" for number in range(models)]
    names = ["grey", "ground truth", *paths]
    rows = {
        name: dict.fromkeys(EVALUATED, 0.123456 + place / 1000) | {"ci95": {key: [0.1234, 10.23] for key in EVALUATED}}
        for place, name in enumerate(names)
    }
    console = Console(width=80, file=io.StringIO())
    print_scores(rows, names[:2], EVALUATED, console)
    printed = console.file.getvalue()
    tables, legend = printed.split("\nmodel", 1)
    assert max(map(len, tables.splitlines())) <= 80 and "…" not in tables
    for place in range(2, len(names)):
        assert tables.count(f"{0.123456 + place / 1000:.4g}") == len(EVALUATED)
    assert tables.count("[0.1234, 10.23]") == models * len(EVALUATED)
    assert all(name in legend for name in names[2:])


def test_the_last_lines_name_the_score_and_the_picture(make_config, checkpoints, capsys, tmp_path) -> None:
    evaluate(make_config(f"ckpt_path={checkpoints[0]}"))
    lines = capsys.readouterr().out.splitlines()
    assert "of grey's" in lines[-3] and lines[-1] == f"picture: {tmp_path / 'picture.png'}"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("ckpt_path=gone.ckpt", "gone.ckpt is not a file"),
        ("device=abacus", "device=abacus is not available"),
        ("data.root=gone", "data.root=gone is not a folder"),
        ("data.num_val=0", "there is no image to evaluate"),
    ],
)
def test_a_mistake_is_named(make_config, checkpoints, override, message) -> None:
    with pytest.raises(UserError, match=message):
        evaluate(make_config(f"ckpt_path={checkpoints[0]}", override))

"""The `colorize` command."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from typer.testing import CliRunner

from colorize import __version__
from colorize.cli import app
from colorize.scenes.dataset import generate_scenes
from tests.conftest import colorful_image

HEAVY = {"torch", "numpy", "PIL", "gradio", "av", "plotly", "scipy", "wandb"}


@pytest.fixture
def run(checkpoint, monkeypatch, tmp_path):
    """Go into a folder with ``photo.png``; return what runs a command there, with a checkpoint in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLORIZE_CHECKPOINT", str(checkpoint))
    colorful_image(0).save("photo.png")
    return lambda *args: CliRunner().invoke(app, [str(arg) for arg in args])


def test_one_photograph(run) -> None:
    result = run("image", "photo.png", "-o", "out")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("1 colored into out in ")
    with Image.open("out/photo.png") as colored:
        assert colored.size == (48, 40)


def test_without_a_folder_the_result_lies_beside_the_photograph(run) -> None:
    Path("more").mkdir()
    colorful_image(1).save("more/b.jpg")
    result = run("image", "photo.png", "more/b.jpg")
    assert result.exit_code == 0, result.output
    for path in ("photo.colorized.png", "more/b.colorized.jpg"):
        with Image.open(path) as colored:
            assert colored.size == (48, 40)


def test_the_result_of_one_photograph_can_be_named(run) -> None:
    result = run("image", "photo.png", "-o", "new/x.jpg")
    assert result.exit_code == 0 and result.stdout.startswith("1 colored into new/x.jpg in "), result.output
    with Image.open("new/x.jpg") as colored:
        assert (colored.format, colored.size) == ("JPEG", (48, 40))


def test_transparency_that_the_named_format_does_not_hold_is_told(run) -> None:
    colorful_image(0).convert("RGBA").resize((48, 40)).save("photo.png")
    with Image.open("photo.png") as image:
        image.putalpha(100)
        image.save("photo.png")
    result = run("image", "photo.png", "-o", "x.jpg")
    assert result.exit_code == 0 and "written as PNG: JPEG does not support its transparency" in result.stderr
    with Image.open("x.jpg.png") as colored:
        assert colored.mode == "RGBA"


def test_version_is_the_packages(run) -> None:
    result = run("--version")
    assert (result.exit_code, result.stdout) == (0, f"colorize {__version__}\n")


def test_the_package_is_a_program() -> None:
    command = [sys.executable, "-m", "colorize", "--version"]
    assert subprocess.run(command, capture_output=True, text=True).stdout == f"colorize {__version__}\n"


def test_a_second_call_says_what_was_there(run) -> None:
    run("image", "photo.png", "-o", "out")
    result = run("image", "photo.png", "-o", "out")
    assert result.exit_code == 0
    assert "none colored" in result.stdout and "1 existed already" in result.stdout


@pytest.mark.parametrize(
    "options", [["--strength", 0.5], ["--tint", "keep"], ["--precision", "bf16"], ["--checkpoint", "b"]]
)
def test_a_second_call_with_other_settings_colors_anew(run, checkpoint, options) -> None:
    Path("b").write_bytes(checkpoint.read_bytes() + b" ")  # another file
    run("image", "photo.png", "-o", "out")
    assert "1 colored" in run("image", "photo.png", "-o", "out", *options).stdout
    assert "1 existed already" in run("image", "photo.png", "-o", "out", *options).stdout


def test_a_glob_over_the_results_colors_none_of_them(run) -> None:
    for _ in range(2):
        result = run("image", "**/*.png", "-o", "out")
        assert result.exit_code == 0
        assert [path.name for path in Path().rglob("*.png")] == ["photo.png", "photo.png"]
    assert "out: skipped 1 that an earlier run colored" in result.stderr


def test_every_option_is_heeded(run) -> None:
    options = ["--strength", 0.5, "--working-size", 64, "--fit", "stretch", "--ensemble", "flip", "--device", "cpu"]
    result = run("image", "photo.png", "-o", "out", *options, "--batch-size", 2, "--precision", "bf16", "--overwrite")
    assert result.exit_code == 0, result.output


def test_a_toned_print_is_told_and_its_tint_can_be_kept(run) -> None:
    grey = np.asarray(colorful_image(0).convert("L"))
    Image.fromarray((grey[..., None] * [1, 0.92, 0.7]).astype(np.uint8)).save("old.png")
    assert "old.png: a toned print: its tint is removed" in run("image", "old.png", "-o", "out").stderr
    assert "toned" not in run("image", "old.png", "-o", "kept", "--tint", "keep").stderr
    with Image.open("out/old.png") as removed, Image.open("kept/old.png") as kept:
        assert np.asarray(removed.convert("L")).mean() > np.asarray(kept.convert("L")).mean() + 3


def test_a_bad_file_is_told_and_the_status_is_1(run) -> None:
    Path("bad\n.jpg").write_text("no image")
    result = run("image", "bad\n.jpg", "gone.png", "photo.png", "-o", "out")
    assert result.exit_code == 1 and Path("out/photo.png").exists()
    assert "gone.png: no such file" in result.stderr.splitlines()
    assert any(line.startswith(r"bad\n.jpg: cannot identify image file") for line in result.stderr.splitlines())


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--strength", "3"], "strength must be a number from 0 to 1.5; got 3.0"),
        (["--working-size", "5"], "working_size must be null or a whole number from 16 to 4096; got 5"),
        (["--batch-size", "0"], "batch_size must be a whole number of at least 1; got 0"),
        (
            ["--checkpoint", "gone.ckpt"],
            "checkpoint gone.ckpt is not a file; name one such as RUN/checkpoints/best.ckpt",
        ),
        (["--checkpoint", "gone.onnx"], "checkpoint gone.onnx is not a file; colorize export --onnx makes one"),
        (["--checkpoint", "photo.png"], "checkpoint photo.png is damaged or not a checkpoint"),
        (["-o", "/dev/null"], "--out /dev/null is not a folder"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(run, args, message) -> None:
    result = run("image", "photo.png", *([] if "-o" in args else ["-o", "out"]), *args)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1 and message in result.stderr
    assert not Path("out").exists()


def test_best_is_the_newest_runs(run, checkpoint) -> None:
    missing = run("image", "photo.png", "-o", "o", "--checkpoint", "best")
    assert (
        missing.exit_code == 2
        and "checkpoint best: no run in outputs, multirun or demo has a best.ckpt" in missing.stderr
    )
    for age, name in enumerate(["outputs/a/b", "multirun/a/b/0", "demo/train"]):
        path = Path(name) / "checkpoints/best.ckpt"
        path.parent.mkdir(parents=True)
        path.write_bytes(checkpoint.read_bytes())
        os.utime(path, (1e9 - 1000 * age, 1e9 - 1000 * age))
    result = run("image", "photo.png", "-o", "out", "--checkpoint", "best")
    assert result.exit_code == 0 and "checkpoint: outputs/a/b/checkpoints/best.ckpt" in result.stderr
    assert "outputs/a/b" in run("info", "best").stdout


@pytest.mark.slow
def test_ctrl_c_leaves_whole_files(checkpoint, tmp_path) -> None:
    for number in range(300):
        colorful_image(number, 200, 150).save(tmp_path / f"{number}.png")
    command = [sys.executable, "-m", "colorize.cli", "image", str(tmp_path), "-o", str(tmp_path / "out")]
    process = subprocess.Popen(
        [*command, "--checkpoint", str(checkpoint), "--batch-size", "1"],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )
    while len(list((tmp_path / "out").glob("*.png"))) < 3:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    written = list((tmp_path / "out").glob("[!.]*"))
    assert process.returncode == 130 and said.strip() == "stopped; files already written are complete"
    assert 3 <= len(written) < 300
    for path in written:
        with Image.open(path) as colored:
            colored.load()


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> Path:
    """Make a COCO-layout folder of eight scenes."""
    root = tmp_path_factory.mktemp("scenes") / "coco"
    generate_scenes(root, num_images=8, seed=0, size=32)
    return root


def test_a_coco_folder_in_color_is_one_again(run, scenes) -> None:
    (index,) = scenes.glob("annotations/*.json")
    before = COCO(str(index))
    result = run("coco", scenes, "-o", "out", "--limit", 3)
    assert result.exit_code == 0, result.output
    after = COCO(f"out/annotations/{index.name}")
    assert len(after.imgs) == 3
    for entry in after.loadImgs(after.getImgIds()):
        with Image.open(Path("out/images") / entry["file_name"]) as colored:
            assert colored.size == (entry["width"], entry["height"])
        assert after.getAnnIds(entry["id"]) == before.getAnnIds(entry["id"])
    assert after.cats == before.cats


def test_a_category_of_coco(run, scenes) -> None:
    (index,) = scenes.glob("annotations/*.json")
    coco = COCO(str(index))
    category = coco.loadCats(next(iter(coco.anns.values()))["category_id"])[0]
    result = run("coco", scenes, "-o", "out", "--category", category["name"])
    assert result.exit_code == 0, result.output
    written = json.loads(Path(f"out/annotations/{index.name}").read_text())
    assert {entry["id"] for entry in written["images"]} == set(coco.getImgIds(catIds=category["id"]))


def test_a_folder_without_annotations_is_told_in_the_words_of_the_command(run) -> None:
    Path("photos").mkdir()
    result = run("coco", "photos", "-o", "out")
    assert result.exit_code == 2
    assert result.stderr == (
        "photos has no annotations/*.json; for images without them: colorize image photos -o FOLDER\n"
    )


def test_a_category_that_is_none_is_named(run, scenes) -> None:
    result = run("coco", scenes, "-o", "out", "--category", "unicorn")
    assert result.exit_code == 2 and "category 'unicorn' is not in" in result.stderr and "it has " in result.stderr


def test_a_coco_image_that_is_missing_is_told(run, scenes, tmp_path) -> None:
    import shutil

    shutil.copytree(scenes, tmp_path / "coco")
    missing = sorted(path for path in (tmp_path / "coco").rglob("*") if path.suffix in (".jpg", ".png"))[0]
    missing.unlink()
    result = run("coco", "coco", "-o", "out")
    assert result.exit_code == 1 and f"{missing.name}: no such file" in result.stderr
    (written,) = Path("out/annotations").iterdir()
    assert len(json.loads(written.read_text())["images"]) == 7


def test_export_and_info(run, checkpoint) -> None:
    assert run("export", checkpoint, "-o", "model").stdout == "model\n"
    told = run("info", "model").stdout
    for fact in ("exported folder", "sha256", "name=unet n_down=5 num_filters=4", "folder", "abc", "val/l1"):
        assert fact in told
    assert '"lr": 0.0002' not in told and '"lr": 0.0002' in run("info", "model", "--config").stdout
    assert json.loads(run("info", "model", "--json").stdout)["metrics"]["val/l1"] == 0.125
    assert run("image", "photo.png", "-o", "out", "--checkpoint", "model").exit_code == 0


@pytest.mark.slow
def test_export_to_onnx_prints_how_far_it_is_from_pytorch(run, checkpoint) -> None:
    lines = run("export", checkpoint, "-o", "model", "--onnx").stdout.splitlines()
    assert len(lines) == 6 and lines[0].startswith("model.onnx at 1 x 1 x 32 x 32: differs from PyTorch by at most ")


@pytest.mark.parametrize(
    "args",
    [
        ["export", "CHECKPOINT", "-o", "/proc/x"],
        ["dashboard", "a/b", "--json", "/proc/x.json"],
        ["image", "photo.png", "-o", "/proc/x"],
    ],
)
def test_a_place_that_cannot_be_written_is_one_line(run, checkpoint, args) -> None:
    result = run(*(checkpoint if arg == "CHECKPOINT" else arg for arg in args))
    assert result.exit_code in (1, 2)  # 1: one photograph of perhaps many
    assert result.stderr.count("\n") == 1 and "/proc/x" in result.stderr, result.stderr


@pytest.mark.parametrize("command", ["image", "coco", "video", "export", "demo", "info", "report", "dashboard"])
def test_every_command_explains_itself(run, command) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0 and len(result.stdout.splitlines()) > 10


def test_help_imports_nothing_heavy() -> None:
    code = f"import sys, colorize.cli; sys.exit(str({HEAVY} & set(sys.modules) or ''))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr.strip() == ""


def test_the_shell_can_complete(run) -> None:
    environment = os.environ | {"_COLORIZE_COMPLETE": "complete_bash", "COMP_WORDS": "colorize ", "COMP_CWORD": "1"}
    command = [str(Path(sys.executable).with_name("colorize"))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert "image" in done.stdout.split() and "export" in done.stdout.split()


def test_score_prints_the_table_and_names_its_files(run) -> None:
    for number in range(3):
        for folder in ("true", "mine"):
            Path(folder).mkdir(exist_ok=True)
            colorful_image(number).save(f"{folder}/{number}.png")
    result = run("score", "true", "same=mine", "--protocol", "full-size", "--no-learned", "--resamples", 100)
    assert result.exit_code == 0, result.output
    assert "| same | 3 | 0 [0, 0] |" in result.stdout and "scores: scores/scores.json" in result.stdout
    result = run("score", "true", "mine", "--protocol", "as-is", "--no-learned")
    assert result.exit_code == 2 and "use another --out" in result.stderr


def test_a_judge_that_fails_its_own_test_gives_status_1(run, monkeypatch) -> None:
    monkeypatch.setattr("colorize.scoring.combined.checks", lambda *_: [{"check": "l1: grey < truth", "passed": False}])
    Path("true").mkdir()
    colorful_image(0).save("true/a.png")
    result = run("score", "true", "true", "--protocol", "full-size", "--no-learned", "--resamples", 100)
    assert result.exit_code == 1 and "not as expected: l1: grey < truth" in result.stderr

"""Scoring methods against the truth: which pictures are included, one protocol, one pass, and resuming."""

import json
import subprocess
import sys
import time
import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from colorize.base.errors import UserError
from colorize.data.decode import digest_of_picture
from colorize.export import export
from colorize.inference import Colorizer
from colorize.scoring import Setup, passes, read_result, run, score, side_by_side
from colorize.scoring import methods as methods_module
from colorize.scoring.checks import checks
from colorize.scoring.protocols import protocol
from tests.conftest import colorful_image

FAST = Setup("full-size", learned=False, resamples=100)


def saved(folder: Path, number: int, name: str, scale: float = 1.0, **options) -> Path:
    """Save a picture, its chroma about scaled."""
    image = colorful_image(number)
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.blend(image.convert("L").convert("RGB"), image, scale).save(path, **options)
    return path


@pytest.fixture
def truth(tmp_path) -> Path:
    for number in range(6):
        saved(tmp_path / "truth", number, f"{number}.png")
    return tmp_path / "truth"


@pytest.fixture
def faded(tmp_path) -> Path:
    for number in range(6):
        saved(tmp_path / "faded", number, f"{number}.png", 0.5)
    return tmp_path / "faded"


def rows_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()[1:]]


def test_rows_files_and_order(truth, faded, tmp_path) -> None:
    result = score(truth, [str(faded)], tmp_path / "out", FAST)
    assert list(result.rows) == [*methods_module.REFERENCES, "faded"]
    assert result.rows["faded"]["images"] == result.truth["images"] == 6
    assert [check["passed"] for check in result.checks] == [True] * 7
    assert read_result(tmp_path / "out") == result
    assert "| faded | 6 |" in (tmp_path / "out/scores.md").read_text()
    assert "faded & " in (tmp_path / "out/scores.tex").read_text()


def test_the_mean_is_that_of_the_images(truth, faded, tmp_path) -> None:
    result = score(truth, [str(faded)], tmp_path / "out", FAST)
    lines = rows_of(tmp_path / "out/images/faded.jsonl")
    assert result.rows["faded"]["scores"]["psnr"] == pytest.approx(np.mean([line["scores"]["psnr"] for line in lines]))
    change = [line["scores"]["colorfulness_abs"] - line["scores"]["target_colorfulness_abs"] for line in lines]
    scores = result.rows["faded"]["scores"]
    assert scores["delta_colorfulness"] == pytest.approx(abs(np.mean(change)))
    assert scores["delta_colorfulness_image"] == pytest.approx(np.mean(np.abs(change)))


def test_a_gain_makes_up_for_half_the_chroma(truth, faded, tmp_path) -> None:
    scores = score(truth, [str(faded)], tmp_path / "out", FAST).rows["truth, chroma x0.5"]["scores"]
    assert scores["gain_at_cf"] == pytest.approx(2, rel=0.01)
    assert scores["l1_at_cf"] < 0.02 * scores["l1"]


def test_a_matched_row_is_as_colorful_as_the_truth(truth, faded, tmp_path, monkeypatch) -> None:
    rows = score(truth, [str(faded)], tmp_path / "out", replace(FAST, matched=True)).rows
    own, matched, true = (rows[name]["scores"] for name in ("faded", "faded, at the truth's CF", "truth"))
    assert own["colorfulness_abs"] < 0.6 * true["colorfulness_abs"]
    assert matched["colorfulness_abs"] == pytest.approx(true["colorfulness_abs"], rel=0.05)
    assert matched["l1"] == pytest.approx(own["l1_at_cf"], rel=0.1)
    seen = scored(monkeypatch)
    assert score(truth, [str(faded)], tmp_path / "out", replace(FAST, matched=True)).rows == rows and not seen


def test_grey_has_no_score_at_the_truths_colorfulness(truth, faded, tmp_path) -> None:
    assert "l1_at_cf" not in score(truth, [str(faded)], tmp_path / "out", FAST).rows["grey"]["scores"]


def test_folder_tricks_are_as_promised(tmp_path) -> None:
    true, output = tmp_path / "truth", tmp_path / "output"
    names = ["plain", "UPPER", "größe", "deep", "palette", "off", "gone", "bad", "colorless", "sub/inner"]
    for number, name in enumerate(names):
        saved(true, number, f"{name}.jpg", quality=95)
    saved(output, 0, "plain.webp")
    saved(output, 1, "upper.PNG")
    saved(output, 2, unicodedata.normalize("NFD", "größe") + ".png")
    deep = np.asarray(colorful_image(3).convert("L")).astype(np.uint16) * 257
    Image.fromarray(deep).save(output / "deep.png")
    colorful_image(4).quantize(64).save(output / "palette.gif")
    colorful_image(5, 49, 40).save(output / "off.png")
    whole = saved(output, 7, "bad.png").read_bytes()
    (output / "bad.png").write_bytes(whole[: len(whole) // 2])
    colorful_image(8).convert("L").save(output / "colorless.png")
    saved(output, 9, "sub/inner.png")
    saved(output, 9, "more.png")
    (output / "notes.txt").write_text("how these were made")

    row = (result := score(true, [str(output)], tmp_path / "out", FAST)).rows["output"]
    assert row["images"] == 8 and result.truth["of"] == 10
    assert row["missing"] == ["gone"] and row["extra"] == ["more"]
    assert list(row["damaged"]) == ["bad"] and "truncated" in row["damaged"]["bad"]
    assert row["resized"] == ["off"]
    assert sorted(row["grey"]) == ["colorless", "deep"]
    assert any("1 .txt" in line for line in row["left out"])
    text = (tmp_path / "out/scores.md").read_text()
    for said in ("output: 1 missing (gone)", "output: 1 damaged (bad)", "output: 1 resized (off)", "output: 1 extra"):
        assert said in text
    lines = {line["image"]: line for line in rows_of(tmp_path / "out/images/output.jsonl")}
    assert lines["deep"]["scores"]["lightness_error"] < 8  # white, as a plain conversion has it, is off by 40
    assert lines["palette"]["scores"]["delta_e"] < 6


def test_a_damaged_truth_is_left_out_of_all_rows_and_named(truth, faded, tmp_path) -> None:
    (truth / "2.png").write_bytes(b"not a picture")
    result = score(truth, [str(faded)], tmp_path / "out", FAST)
    assert list(result.truth["damaged"]) == ["2"]
    assert {result.rows[name]["images"] for name in ("grey", "truth", "faded")} == {5}


def test_as_is_a_picture_of_another_size_has_no_score(truth, faded, tmp_path) -> None:
    colorful_image(1, 47, 40).save(faded / "1.png")
    result = score(truth, [str(faded)], tmp_path / "out", Setup("as-is", learned=False, resamples=100))
    reason = "is 47x40, but the truth is 48x40, and protocol as-is does not resize"
    assert result.rows["faded"]["damaged"] == {"1": reason}


def test_as_is_keeps_the_methods_lightness(truth, tmp_path) -> None:
    for number in range(6):
        colorful_image(number).point(lambda level: level // 2).save(saved(tmp_path / "dark", number, f"{number}.png"))
    dark = str(tmp_path / "dark")
    own = score(truth, [dark], tmp_path / "a", Setup("as-is", learned=False, resamples=100)).rows["dark"]["scores"]
    imposed = score(truth, [dark], tmp_path / "b", FAST).rows["dark"]["scores"]
    assert own["psnr"] < imposed["psnr"] - 3
    assert own["lightness_error"] == pytest.approx(imposed["lightness_error"]) and own["lightness_error"] > 10


def scored(monkeypatch) -> list[str]:
    """Note every picture that is scored."""
    seen: list[str] = []
    plain = passes.scores_of
    monkeypatch.setattr(passes, "scores_of", lambda truth, colored: seen.append("") or plain(truth, colored))
    return seen


def test_a_second_call_scores_nothing_and_says_the_same(truth, faded, tmp_path, monkeypatch) -> None:
    first = score(truth, [str(faded)], tmp_path / "out", FAST)
    seen = scored(monkeypatch)
    assert score(truth, [str(faded)], tmp_path / "out", FAST) == first
    assert not seen


def test_one_more_method_costs_one_more_pass(truth, faded, tmp_path, monkeypatch) -> None:
    score(truth, [str(faded)], tmp_path / "out", FAST)
    seen = scored(monkeypatch)
    result = score(truth, [str(faded), f"again={faded}"], tmp_path / "out", FAST)
    assert len(seen) == 6
    assert result.rows["again"]["scores"] == result.rows["faded"]["scores"]


def test_a_picture_that_changed_is_scored_anew(truth, faded, tmp_path, monkeypatch) -> None:
    before = score(truth, [str(faded)], tmp_path / "out", FAST)
    saved(faded, 3, "3.png", 0.9)
    seen = scored(monkeypatch)
    after = score(truth, [str(faded)], tmp_path / "out", FAST)
    assert len(seen) == 1 and after.rows["faded"]["scores"]["l1"] < before.rows["faded"]["scores"]["l1"]


@pytest.mark.parametrize("cut", [0, 1, 40])
def test_a_killed_run_goes_on(truth, faded, tmp_path, monkeypatch, cut) -> None:
    whole = score(truth, [str(faded)], tmp_path / "out", FAST)
    table = tmp_path / "out/images/faded.jsonl"
    lines = table.read_bytes().splitlines(keepends=True)
    table.write_bytes(b"".join(lines[:4]) + lines[4][:cut])
    seen = scored(monkeypatch)
    assert score(truth, [str(faded)], tmp_path / "out", FAST) == whole
    assert len(seen) == 3


def test_what_is_written_before_an_interruption_stays(truth, faded, tmp_path, monkeypatch) -> None:
    def stop(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(passes, "TOGETHER", 2)
    with pytest.raises(KeyboardInterrupt):
        score(truth, [str(faded)], tmp_path / "out", FAST, stop)
    assert len(rows_of(tmp_path / "out/images/faded.jsonl")) == 2
    seen = scored(monkeypatch)
    score(truth, [str(faded)], tmp_path / "out", FAST)
    assert len(seen) == 7 * 4


def test_processes_score_as_one_process_does(truth, faded, tmp_path, monkeypatch) -> None:
    (faded / "3.png").write_bytes(b"no picture")
    alone = score(truth, [str(faded)], tmp_path / "alone", FAST)
    monkeypatch.setattr(passes, "cores", lambda: 2)
    monkeypatch.setattr(passes, "MANY", 6)
    monkeypatch.setattr(passes, "TOGETHER", 2)
    seen = scored(monkeypatch)
    together = score(truth, [str(faded)], tmp_path / "together", FAST)
    assert together.rows == alone.rows and together.notes == alone.notes
    assert not seen  # in this process


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_processes_end_with_a_killed_parent(truth, faded, tmp_path) -> None:
    for folder in (truth, faded):  # enough for lines that nobody reads to fill the pipe
        for copy in range(400):
            (folder / f"copy {copy}.png").hardlink_to(folder / f"{copy % 6}.png")
    table = tmp_path / "out/images/faded.jsonl"
    code = "import sys\nfrom colorize.scoring import Setup, passes, score\npasses.cores = lambda: 2\n"
    code += "score(*sys.argv[1:2], sys.argv[2:3], sys.argv[3], Setup('full-size', learned=False))"
    process = subprocess.Popen([sys.executable, "-c", code, truth, faded, tmp_path / "out"])
    while not table.exists() or len(rows_of(table)) < 8:
        assert process.poll() is None
        time.sleep(0.05)
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.kill()
    process.wait()
    deadline = time.monotonic() + 30
    while any(Path("/proc", worker).exists() for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(workers) == 2 and not any(Path("/proc", worker).exists() for worker in workers)


def test_lines_that_know_more_networks_are_kept(truth, faded, tmp_path, monkeypatch) -> None:
    score(truth, [str(faded)], tmp_path / "out", FAST)
    for table in (tmp_path / "out/images").iterdir():
        table.write_text(table.read_text().replace('"networks":[]', '"networks":["lite2"]', 1))
    seen = scored(monkeypatch)
    result = score(truth, [str(faded)], tmp_path / "out", FAST)
    assert not seen and not any("scored again" in note for note in result.notes)


def test_another_protocol_is_refused_in_the_same_folder(truth, faded, tmp_path) -> None:
    score(truth, [str(faded)], tmp_path / "out", FAST)
    with pytest.raises(
        UserError, match="has scores of protocol full-size, which cannot be combined with protocol as-is"
    ):
        score(truth, [str(faded)], tmp_path / "out", Setup("as-is", learned=False))


def test_results_stand_side_by_side_only_by_one_protocol_and_of_the_same_images(truth, faded, tmp_path) -> None:
    one = score(truth, [str(faded)], tmp_path / "a", FAST)
    two = score(truth, [f"other={faded}"], tmp_path / "b", FAST)
    assert list(side_by_side([one, two])) == [*methods_module.REFERENCES, "faded", "other"]
    with pytest.raises(UserError, match="two rows have the name faded"):
        side_by_side([one, score(truth, [str(faded)], tmp_path / "c", FAST)])
    other = score(truth, [f"x={faded}"], tmp_path / "d", Setup("as-is", learned=False, resamples=100))
    with pytest.raises(UserError, match="the protocols full-size and as-is cannot be compared"):
        side_by_side([one, other])
    saved(truth, 5, "5.png", 0.8)
    with pytest.raises(UserError, match=r"scores of different images \(6 and 6\)"):
        side_by_side([one, score(truth, [f"x={faded}"], tmp_path / "e", FAST)])


def test_paired_differences_are_of_the_same_images(truth, faded, tmp_path) -> None:
    for number in range(6):
        saved(tmp_path / "less", number, f"{number}.png", 0.25)
    (tmp_path / "less/0.png").unlink()
    result = score(truth, [str(faded), str(tmp_path / "less")], tmp_path / "out", FAST)
    pair = next(p for p in result.paired if (p["first"], p["second"], p["score"]) == ("faded", "less", "l1"))
    values = {
        row: {line["image"]: line["scores"]["l1"] for line in rows_of(tmp_path / f"out/images/{row}.jsonl")}
        for row in ("faded", "less")
    }
    differences = np.array([values["faded"][image] - values["less"][image] for image in "12345"])
    assert pair["difference"] == pytest.approx(differences.mean())
    spread = differences.std() / 5**0.5
    assert pair["detectable"] == pytest.approx(2.8016 * spread, rel=0.3)  # of 100 draws
    assert pair["ci95"][0] < pair["difference"] < pair["ci95"][1] < 0


def test_a_checkpoint_colors_the_truth_first(truth, checkpoint, tmp_path) -> None:
    result = score(truth, [str(checkpoint)], tmp_path / "out", replace(FAST, pictures=True))
    colorizer = Colorizer.from_checkpoint(checkpoint)
    for number in range(6):
        colored = colorizer.colorize(Image.open(truth / f"{number}.png"), tint="keep")
        (tmp_path / "x").mkdir(exist_ok=True)
        colored.save(tmp_path / "x" / f"{number}.png")
    as_pictures = score(truth, [str(tmp_path / "x")], tmp_path / "out2", FAST)
    with Image.open(tmp_path / "out/pictures/x/3.png") as kept, Image.open(tmp_path / "x/3.png") as own:
        assert np.abs(np.asarray(kept).astype(int) - np.asarray(own)).mean() < 1
    row = result.rows["x"]
    assert row["kind"] == "model" and any("are unknown" in note for note in result.notes)
    for name in ("psnr", "delta_e", "colorfulness_abs"):  # but for gamut and rounding
        assert row["scores"][name] == pytest.approx(as_pictures.rows["x"]["scores"][name], rel=0.02)


@pytest.mark.parametrize("onnx", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_an_export_scores_as_its_checkpoint(truth, checkpoint, tmp_path, onnx) -> None:
    export(str(checkpoint), tmp_path / "model", onnx)
    exported = tmp_path / "model" / ("model.onnx" if onnx else "")
    rows = score(truth, [str(checkpoint), f"export={exported}"], tmp_path / "out", FAST).rows
    assert rows["export"]["kind"] == "model"
    assert rows["export"]["scores"] == pytest.approx(rows["x"]["scores"], rel=1e-3)


def test_images_that_a_model_was_trained_on_are_left_out_of_all_rows(truth, checkpoint, tmp_path, monkeypatch) -> None:
    own = {digest_of_picture(np.asarray(colorful_image(number))) for number in (1, 4)}
    monkeypatch.setattr(methods_module, "training_pictures", lambda digest, folders: own)
    plain = methods_module.load_generator

    def knowing(path):
        generator, model = plain(path)
        model.about["trained_on"] = "x"
        return generator, model

    monkeypatch.setattr(methods_module, "load_generator", knowing)
    result = score(truth, [str(checkpoint)], tmp_path / "out", FAST)
    assert result.rows["x"]["trained on"] == ["1", "4"]
    assert {row["images"] for row in result.rows.values()} == {4}


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (["gone"], "gone is not a folder of pictures"),
        (["faded", "x/faded"], "x/faded: another row has the name faded; rename this one with OTHER=x/faded"),
        (["grey=faded"], "another row has the name grey"),
        (["gone.ckpt"], "checkpoint gone.ckpt is not a file"),
    ],
)
def test_what_will_not_do_is_one_line(truth, faded, tmp_path, monkeypatch, outputs, message) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        score(truth, outputs, tmp_path / "out", FAST)


def test_without_one_image_in_common_that_is_said(truth, faded, tmp_path) -> None:
    for number in range(6):
        name = f"{number}.png"
        (faded / name).unlink() if number < 3 else saved(tmp_path / "b", number - 3, f"{number - 3}.png")
    with pytest.raises(UserError, match="no image is left that every method has"):
        score(truth, [str(faded), str(tmp_path / "b")], tmp_path / "out", FAST)


def test_only_some_images_test_the_judge_where_there_are_many(truth, faded, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(run, "REFERENCE_IMAGES", 3)
    result = score(truth, [str(faded)], tmp_path / "out", FAST)
    counts = {name: row["images"] for name, row in result.rows.items()}
    assert counts == dict.fromkeys(methods_module.REFERENCES, 3) | {"grey": 6, "truth": 6, "faded": 6}
    assert all(check["passed"] for check in result.checks)


def test_two_processes_do_not_score_into_one_folder(truth, faded, tmp_path) -> None:
    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out/.lock"), pytest.raises(UserError, match="another process is writing scores to"):
        score(truth, [str(faded)], tmp_path / "out", FAST)


def reference_rows(**changed) -> dict[str, dict[str, float]]:
    names = methods_module.TRUTH, methods_module.JPEG, methods_module.HALF, methods_module.GREY
    rows = {
        name: {"l1": at, "delta_e": at, "psnr": -at, "delta_colorfulness": at, "ssim": 1, "colorfulness_abs": 3 - at}
        for at, name in enumerate(names)
    }
    rows[methods_module.MORE] = {"colorfulness_abs": 4}
    for name, values in changed.items():
        rows[name] |= values
    return rows


def failed(rows, colorfulness=38.3, complete=True) -> list[str]:
    found = checks(rows, colorfulness, protocol("coco"), complete)
    return [check["check"].partition(":")[0] for check in found if not check["passed"]]


def test_a_sound_judge_passes_its_checks() -> None:
    assert failed(reference_rows()) == []


@pytest.mark.parametrize("name", ["l1", "delta_e", "psnr", "delta_colorfulness", "colorfulness_abs"])
def test_a_score_that_prefers_grey_fails(name) -> None:
    assert name in failed(reference_rows(grey={name: 99 if name in ("psnr", "colorfulness_abs") else -1}))


def test_a_known_colorfulness_that_is_missed_is_said_of_complete_sets_only() -> None:
    assert failed(reference_rows(), 34.3) == ["colorfulness_abs of the truth is 34.30; published for coco"]
    assert failed(reference_rows(), 34.3, complete=False) == []

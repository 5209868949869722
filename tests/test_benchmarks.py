"""Every benchmark runs at a small size, and its table is in its JSON."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import rgb2lab

from benchmarks import corpora, gpu_proof, gpu_results, harness, mutated_photos, old_photos
from colorize.scenes.dataset import draw_scene
from tests.conftest import ROOT, colorful_image

TABLES = {
    "train_step": 3,
    "epoch": 1,
    "data_path": 2,
    "inference": 1,
    "edges": 1,
    "lightness": 2,
    "many_files": 1,
    "memory": 1,
    "scaling": 2,
    "start": 1,
    "gpu_proof": 5,
    "stability": 2,
    "watch": 1,
    "generators": 1,
    "old_photos": 1,
    "mutated_models": 1,
    "page_load": 2,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLES)
def test_a_benchmark_leaves_its_tables(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    flags = ["--quick", *(["--no-compile"] if name in ("train_step", "gpu_proof") else [])]
    monkeypatch.setattr(sys, "argv", [name, *flags])
    importlib.import_module(f"benchmarks.{name}").main()
    written = json.loads((tmp_path / f"{name}.json").read_text())
    printed = capsys.readouterr().out
    assert len(written["tables"]) == TABLES[name]
    assert written["machine"] in printed and written["commit"] in printed
    for title, rows in written["tables"].items():
        assert title in printed and rows


def test_an_old_photograph_is_a_function_of_seed_and_number() -> None:
    image, names = np.asarray(colorful_image(0)), list(old_photos.DAMAGES)
    first = old_photos.made_old(image, names, 3, 0)
    assert np.array_equal(old_photos.made_old(image, names, 3, 0), first)
    for number, seed in ((4, 0), (3, 1)):
        assert not np.array_equal(old_photos.made_old(image, names, number, seed), first)


@pytest.mark.parametrize("name", old_photos.DAMAGES)
def test_damage_changes_the_grey_picture_alone(name) -> None:
    image = draw_scene(0, 0, 64).rgb
    old, grey = old_photos.made_old(image, [name], 0, 0), old_photos.neutral(image)
    assert (old.shape, old.dtype) == (image.shape, np.uint8) and not np.array_equal(old, grey)
    assert (np.ptp(old, axis=2).max() > 5) == (name == "sepia")


def test_greys_and_film_blind_to_red_have_the_tones_of_skimage_and_of_a_value_by_hand() -> None:
    image = np.asarray(colorful_image(0))
    before, after = rgb2lab(image)[..., 0], rgb2lab(old_photos.neutral(image))[..., 0]
    assert np.abs(after - before).max() < 0.25
    red, white = old_photos.made_old(np.array([[[255, 0, 0], [255, 255, 255]]], np.uint8), ["orthochromatic"], 0, 0)[0]
    assert red.tolist() == [0, 0, 0] and white.tolist() == [255, 255, 255]


def test_without_damage_a_photograph_stays_in_color() -> None:
    image = np.asarray(colorful_image(0))
    assert old_photos.made_old(image, [], 0, 0) is image


def test_variants_run_in_turns() -> None:
    order = []
    seconds = harness.in_turns({n: lambda n=n: [order.append(n) or float(len(order))] for n in "ab"}, 2)
    assert order == ["a", "b", "a", "b"]
    assert seconds == {"a": [1.0, 3.0], "b": [2.0, 4.0]}


def test_kernels_are_told_apart() -> None:
    kernels = {
        "sm90_xmma_dgrad_implicit_gemm_indexed_bf16": "convolution",
        "void at::native::batch_norm_backward_kernel<float>": "normalization",
        "void at::native::multi_tensor_apply_kernel<FusedAdamMathFunctor>": "optimizer",
        "void at::native::vectorized_elementwise_kernel<4>": "elementwise and reduction",
        "Memcpy DtoD": "copy and layout",
    }
    assert {kernel: gpu_proof.kind_of(kernel) for kernel in kernels} == kernels
    kinds, _ = gpu_proof.breakdown({"Memcpy DtoD": 1.0, "sm90_xmma_dgrad": 3.0})
    assert [(row[""], row["share"]) for row in kinds] == [
        ("all", "100.0%"), ("convolution", "75.0%"), ("copy and layout", "25.0%"),
    ]  # fmt: skip


def test_the_reference_of_lab_is_that_of_skimage() -> None:
    rgb = gpu_results.all_colors(15)
    expected = torch.from_numpy(rgb2lab(rgb[0].permute(1, 2, 0).numpy())).permute(2, 0, 1)[None]
    torch.testing.assert_close(gpu_results.lab_of(rgb), expected, atol=1e-3, rtol=0)  # 7.787 there, not 841 / 108


def test_losses_are_compared_by_the_largest_of_each() -> None:
    expected = torch.tensor([[1.0, 200.0], [-4.0, 100.0], [2.0, torch.nan]])
    found = expected + torch.tensor([[0.2, 0.0], [0.0, 2.0], [0.0, 0.0]])
    assert gpu_results.apart(found, expected) == pytest.approx(0.05)  # 0.2 of 4; 2 of 200 is less
    with pytest.raises(RuntimeError, match="NaN at different ones"):
        gpu_results.apart(found.nan_to_num(), expected)


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> gpu_results.Results:
    """Put checks whose outcome is known in the place of those that take a while."""
    known = {"captured": (0.5, 0.5), "rolled_back": (0.6, 0.5), "resumed": (float("nan"), 0.5)}
    for name, outcome in known.items():
        monkeypatch.setattr(gpu_results.Results, name, lambda *args, outcome=outcome: outcome)
    for name in ("lab", "plain_loop"):
        monkeypatch.setattr(gpu_results.Results, name, lambda self: torch.zeros(1)[9])
    monkeypatch.setattr(gpu_results.Results, "not_recorded", lambda self: (0.0, 0.0))
    return gpu_results.Results(tmp_path)


def test_a_check_that_fails_does_not_stop_the_others(results) -> None:
    rows = {row[""].removeprefix("a stand-in for graphs: "): row for row in results.rows()}
    failed = {name for name, row in rows.items() if row["verdict"] == "FAIL"}
    assert failed == {
        "Lab of all colors, against float64",  # raised
        "engine=plain, against the report's loop in plain PyTorch",
        "roll-back from a weight that is no number",  # above its bar
        "resumed within an epoch",  # no number
    }
    assert "IndexError: index 9" in rows["Lab of all colors, against float64"]["measured"]
    assert rows["a step that cannot be recorded"]["verdict"] == rows["D and G"]["verdict"] == "PASS"


@pytest.mark.parametrize("verdicts", [["PASS", "FAIL", "PASS"], ["PASS", "PASS"]])
def test_the_exit_status_tells_whether_a_result_is_wrong(verdicts, monkeypatch, tmp_path, capsys) -> None:
    rows = [{"": f"check {number}", "verdict": verdict} for number, verdict in enumerate(verdicts)]
    monkeypatch.setattr(gpu_results.Results, "rows", lambda self: rows)
    for name, found in {"speeds": [], "kernels": ([], []), "report": None}.items():
        monkeypatch.setattr(gpu_proof.Proof, name, lambda *args, found=found: found)
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["gpu_proof", "--quick"])
    if "FAIL" in verdicts:
        with pytest.raises(SystemExit, match="1"):
            gpu_proof.main()
        assert "check 1" in capsys.readouterr().out.split("results that are not right")[1]
    else:
        gpu_proof.main()


def test_a_campaign_of_damaged_photographs_loses_none(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["mutated_photos", "--count", "60", "--seed", "1"])
    mutated_photos.main()  # else it ends with status 1
    tables = json.loads((tmp_path / "mutated_photos.json").read_text())["tables"]
    rows = tables["What became of damaged files, seed 1"]
    assert [row["files"] for row in rows] == [60] * 3
    assert all(row["colored"] + row["colored, and told what is lost"] + row["refused in a line"] == 60 for row in rows)


def test_the_campaign_notices_what_is_lost(tmp_path) -> None:
    exif, profile = corpora.exif()[0], corpora.power_profile(1.8)
    for name, content in {
        "exif": corpora.carrier("PNG", exif=exif),
        "profile": corpora.carrier("PNG", icc_profile=profile),
        "plain": corpora.carrier("PNG"),
    }.items():
        (tmp_path / f"{name}.png").write_bytes(content)
    plain = tmp_path / "plain.png"
    dark = tmp_path / "dark.png"
    Image.open(plain).point(lambda level: level * 8 // 10).save(dark)
    judged = {
        (tmp_path / "exif.png", plain): "silent",  # its EXIF is gone
        (tmp_path / "profile.png", plain): "silent",  # its profile is gone
        (plain, dark): "silent",
        (plain, None): "silent",
        (plain, plain): "colored",
    }
    assert {pair: mutated_photos.judge(*pair, []) for pair in judged} == judged
    assert mutated_photos.judge(plain, None, ["no"]) == "refused in a line"
    assert mutated_photos.judge(tmp_path / "exif.png", plain, ["its EXIF"]) == "colored, and told what is lost"


def test_damage_is_a_function_of_seed_kind_and_number(tmp_path) -> None:
    for seed, folder in ((0, "a"), (0, "b"), (1, "c")):
        mutated_photos.make(tmp_path / folder, "EXIF blocks", 8, seed)
    a, b, c = ([path.read_bytes() for path in sorted((tmp_path / folder).iterdir())] for folder in "abc")
    assert a == b and a != c

"""Means, intervals and tables of scores."""

import numpy as np
import pytest
import torch

from colorize.metrics.perceptual import frechet_distance, kernel_distance
from colorize.scoring.images import ImageTable
from colorize.scoring.networks import packed, unpacked
from colorize.scoring.result import Result
from colorize.scoring.scores import CURVES, GAINS, SCORES
from colorize.scoring.summary import AT, COLUMNS, bootstrapped, distances, paired, read_values, scores_of_means
from colorize.scoring.tables import latex, markdown


def table(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(10, 2, (count, len(COLUMNS)))


def test_a_score_at_the_truths_colorfulness_is_read_off_between_two_gains() -> None:
    means = np.zeros((1, len(COLUMNS)))
    means[0, AT["colorfulness_abs@0"] :][: len(GAINS)] = 10 * np.array(GAINS)
    means[0, AT["l1@0"] :][: len(GAINS)] = np.arange(len(GAINS))
    means[0, AT["reference"]] = 10 * (0.25 * GAINS[4] + 0.75 * GAINS[5])
    scores = scores_of_means(means)
    assert scores["gain_at_cf"][0] == pytest.approx(0.25 * GAINS[4] + 0.75 * GAINS[5])
    assert scores["l1_at_cf"][0] == pytest.approx(4.75)


@pytest.mark.parametrize("truth", [1.0, 1000.0])
def test_a_colorfulness_that_no_gain_reaches_gives_none(truth) -> None:
    means = np.ones((1, len(COLUMNS)))
    means[0, AT["colorfulness_abs@0"] :][: len(GAINS)] = 10 * np.array(GAINS)
    means[0, AT["reference"]] = truth
    scores = scores_of_means(means)
    assert np.isnan(scores["gain_at_cf"]) and np.isnan(scores["l1_at_cf"])


def test_bootstrap_spreads_as_the_normal_theory_has_it() -> None:
    values = table(400)
    draws = bootstrapped({"x": values}, 2000, 0)["x"]["psnr"]
    column = values[:, AT["psnr"]]
    assert draws.mean() == pytest.approx(column.mean(), abs=0.02)
    assert draws.std() == pytest.approx(column.std() / 20, rel=0.06)


def test_methods_are_drawn_alike() -> None:
    values = table(50)
    shifted = values.copy()
    shifted[:, AT["l1"]] += 1
    draws = bootstrapped({"x": values, "y": shifted}, 100, 0)
    found = paired(draws["y"]["l1"], draws["x"]["l1"], 1.0)
    assert found["ci95"] == pytest.approx([1, 1]) and found["detectable"] == pytest.approx(0, abs=1e-9)


def test_the_smallest_difference_is_seen_in_80_of_100_samples() -> None:
    random = np.random.default_rng(0)
    draws = random.normal(0, 0.5, 20000)
    smallest = paired(draws, np.zeros(20000), 0.0)["detectable"]
    seen = np.abs(random.normal(smallest, 0.5, 20000)) > 1.96 * 0.5
    assert seen.mean() == pytest.approx(0.8, abs=0.01)


def line(image: str, value: float, **more) -> dict:
    scores = dict.fromkeys(SCORES, value)
    curves = {name: [value] * len(GAINS) for name in CURVES}
    content = {"notes": [], "scores": scores, "curves": curves, "reference": [value, value]}
    return {"image": image, "truth": "t", "output": "o"} | content | more


@pytest.fixture
def write(tmp_path):
    def written(name: str, *lines: dict):
        rows = ImageTable(tmp_path / f"{name}.jsonl", name, {"name": "coco"})
        rows.append(lines)
        rows.close()
        return rows.path

    return written


def test_of_an_image_with_two_lines_the_later_counts(write) -> None:
    values = read_values(write("x", line("a", 1), line("b", 2), line("a", 3)), ["a", "b"])
    assert values.of(["b", "a"])[:, AT["l1"]].tolist() == [2, 3]


def test_an_image_that_is_damaged_in_its_later_line_has_no_scores(write) -> None:
    bad = {"image": "a", "truth": "t", "output": "o", "error": "truncated"}
    values = read_values(write("x", line("a", 1), bad), ["a"])
    assert values.images == [] and values.errors == {"a": "truncated"}


def test_recognizability_is_the_share_of_equal_classes(write) -> None:
    path = write("x", *(line(image, 1, **{"class": at}) for at, image in enumerate("abcd")))
    values = read_values(path, "abcd", {"a": 0, "b": 1, "c": 2, "d": 0})
    assert scores_of_means(values.table.mean(0, keepdims=True))["recognizability"] == 0.75


def test_features_come_back_as_they_were() -> None:
    features = torch.randn(7)
    assert (unpacked(packed(features)) == features.numpy()).all()


def test_distances_are_of_the_features_of_the_same_images(write) -> None:
    features = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))
    names = "abcdef"
    paths = [
        write(name, *(line(image, 1, lite2=packed(rows[at])) for at, image in enumerate(names)))
        for name, rows in zip(("x", "truth"), features, strict=True)
    ]
    found = distances(*paths, list("bdfa"))
    outputs, targets = (rows[[1, 3, 5, 0]] for rows in features)
    assert found["fid_lite2"] == pytest.approx(frechet_distance(outputs, targets))
    assert (found["kid_lite2"], found["kid_lite2_std"]) == pytest.approx(kernel_distance(outputs, targets))
    assert "kid" not in found


def result(low: float, high: float) -> Result:
    row = {"kind": "folder", "images": 9, "ci95": {"l1": [0.07, 0.09]}}
    rows = {"a_b&c": row | {"scores": {"l1": 0.08, "psnr": 22.0}}, "other": row | {"scores": {"l1": 0.1}}}
    pair = {"first": "a_b&c", "second": "other", "score": "l1", "difference": -0.02, "ci95": [low, high]}
    told = {"name": "coco", "about": "x", "resampling": "x", "lightness": "x", "rounding": "x"}
    return Result(told, {"images": 9, "list": "0123456789abcdef0"}, rows, [pair | {"detectable": 0.01}])


def test_latex_escapes_names_and_marks_what_is_better_for_sure() -> None:
    text = latex(result(-0.03, -0.01))
    assert r"a\_b\&c & \textbf{0.08} & 22 \\" in text and r"other & 0.1 & -- \\" in text
    assert r"L1 $\downarrow$ & PSNR $\uparrow$" in text and "list 0123456789abcdef" in text
    assert "textbf" not in latex(result(-0.03, 0.01))


def test_markdown_has_intervals_differences_and_the_protocol() -> None:
    text = markdown(result(-0.03, -0.01))
    assert "| a_b&c | 9 | 0.08 [0.07, 0.09] | 22 |" in text
    assert "| a_b&c | other | l1 | -0.02 [-0.03, -0.01] | 0.01 |" in text
    assert text.startswith("Protocol coco: x.") and "9 images, list 0123456789abcdef;" in text

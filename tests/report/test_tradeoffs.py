"""Quality against cost and learning curves in the report: Pareto fronts, means and intervals by hand."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from colorize.report import write_report
from colorize.report.tradeoffs import undominated
from tests.fake_runs import COMMON, write_run, write_sizes, write_strategies
from tests.report.test_page import text_of


@pytest.fixture(scope="module")
def strategies(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("strategies")
    write_strategies(folder)
    return write_report(folder).read_text(encoding="utf-8")


def figure(html: str, key: str) -> dict:
    (found,) = re.findall(rf'id="{key}">(.*?)</script>', html, re.DOTALL)
    return json.loads(found)


def tables(html: str) -> list[list[list[str]]]:
    """Return the rows of each table of the section, as texts of its cells."""
    section = html[html.index('<section id="tradeoffs"') :]
    found = re.findall(r"<table>(.*?)</table>", section[: section.index("</section>")], re.DOTALL)
    rows = [re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL) for table in found]
    return [
        [[re.sub(r"<[^>]+>", "", cell).strip() for cell in re.findall(r"<t[hd].*?</t[hd]>", row)] for row in table]
        for table in rows
    ]


def test_undominated_are_those_that_no_other_beats_in_one_and_equals_in_the_other() -> None:
    costs = [1, 2, 2, 3, 3, 1]
    values = [5, 4, 4, 4, 1, 6]
    assert undominated(costs, values, lower=True) == [True, True, True, False, True, False]
    assert undominated(costs, [-value for value in values], lower=False) == [True, True, True, False, True, False]


def test_the_table_marks_what_is_undominated_in_each_cost(strategies) -> None:
    low, high = stats.t.interval(0.95, 1, loc=0.08, scale=stats.sem([0.079, 0.081]))
    head, *rows = tables(strategies)[0]
    assert head == [
        *("#", "configuration", "val/l1", "seconds", "CPU-seconds"),
        *("GFLOP an image, G forward", "images seen", "parameters of G"),
    ]
    values = [row.pop(2) for row in rows]
    assert values[1] == f"0.080 [{low:.3f}, {high:.3f}]"
    assert rows == [
        ["1", "strategy=old", "● 90.00", "–", "–", "–", "–"],  # from before costs were counted
        ["2", "strategy=large", "305.0", "● 600.0", "● 12.00", "● 1000", "● 54.41 M"],
        ["3", "strategy=wasteful", "325.0", "605.0", "50.00", "● 800", "55 M"],
        ["4", "strategy=small", "305.0", "610.0", "● 2.000", "6000", "● 4.5 M"],
    ]


def test_of_a_metric_that_is_better_when_higher_the_marks_are_of_the_highest(strategies) -> None:
    names = re.findall(r'<option value="tradeoff-\d+">(.*?)</option>', strategies)
    assert names == ["val/l1", "val/psnr", "val/ssim", "val/delta_colorfulness"]  # of others none is better
    _, *rows = tables(strategies)[1]
    marked = {row[1] for row in rows if row[5].startswith("●")}
    assert marked == {"strategy=large", "strategy=small"}  # psnr falls as l1 rises


def test_the_plot_fills_and_joins_the_undominated(strategies) -> None:
    front, others, best = figure(strategies, "tradeoff-1-3")["data"]  # val/l1 by GFLOP
    assert (front["x"], np.round(front["y"], 6).tolist()) == ([2.0, 12.0], [0.1, 0.08])
    assert (others["x"], others["text"], others["marker"]["symbol"]) == ([50.0], ["3"], "circle-open")
    assert (best["x"], best["text"], best["marker"]["symbol"]) == ([12.0, 2.0], ["2", "4"], "circle")
    half = stats.t.interval(0.95, 1, loc=0, scale=stats.sem([0.079, 0.081]))[1]
    assert best["error_y"]["array"] == pytest.approx([half, half])


def test_a_cost_is_a_mean_over_seeds_and_over_a_run_that_was_resumed(strategies) -> None:
    _, others, best = figure(strategies, "tradeoff-1-1")["data"]
    assert sorted([*others["x"], *best["x"]]) == [90, 305, 305, 325]  # of 300 and 310 s, not the 90 of the last part


def test_runs_that_cost_the_same_have_no_such_section(html_of_sweep) -> None:
    assert "Quality against cost" not in text_of(html_of_sweep) and "Learning curve" not in text_of(html_of_sweep)


@pytest.fixture
def html_of_sweep(sweep) -> str:
    return (sweep / "report.html").read_text(encoding="utf-8")


def test_a_learning_curve_is_a_line_for_each_set_of_other_settings(tmp_path) -> None:
    means = write_sizes(tmp_path)
    html = write_report(tmp_path).read_text(encoding="utf-8")
    found = figure(html, "size-1")
    assert found["layout"]["xaxis"]["type"] == "log" and found["layout"]["yaxis"]["title"]["text"] == "val/l1"
    half = stats.t.interval(0.95, 1, loc=0, scale=stats.sem([-0.001, 0.001]))[1]
    for line, strategy in zip(found["data"], ("small", "large"), strict=True):
        assert line["x"] == [1000, 2000, 4000]
        assert line["y"] == pytest.approx([means[strategy, size] for size in (1000, 2000, 4000)])
        assert line["error_y"]["array"] == pytest.approx([half] * 3)
        assert line["hovertemplate"].startswith(f"strategy={strategy}<br>")
    (key,) = re.findall(r'<ul class="key" aria-label="Lines">(.*?)</ul>', html, re.DOTALL)
    assert text_of("<body" + key).split() == ["strategy=small", "strategy=large"]


def write_all(folder: Path, *settings: str) -> str:
    for job, typed in enumerate(settings):
        write_run(folder / str(job), [*COMMON, *typed.split()], 0.08 + job / 1000, job=job)
    return text_of(write_report(folder).read_text(encoding="utf-8"))


def test_sizes_that_come_with_another_setting_are_no_learning_curve(tmp_path) -> None:
    assert "Learning curve" in write_all(tmp_path / "a", "data.num_train=100", "data.num_train=200")
    confounded = write_all(tmp_path / "b", "data.num_train=100 lr=1e-3", "data.num_train=200 lr=1e-4")
    assert "Learning curve" not in confounded
    assert "Learning curve" not in write_all(tmp_path / "c", "data.num_train=100", "data.num_train=null")

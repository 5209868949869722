"""The report of a sweep with known numbers, and of damaged runs."""

import base64
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from typer.testing import CliRunner

from colorize.base.errors import UserError, missing_extra
from colorize.cli import app
from colorize.experiments.experiment import train
from colorize.grids import VERSIONS, columns_of, picture_grid
from colorize.report import write_report
from colorize.report.configurations import arrange, lower_is_better
from colorize.report.curves import read_changes, read_curves, thin
from colorize.report.data_sets import by_data_set
from colorize.report.effects import Decomposition, Share
from colorize.report.runs import read_runs
from colorize.report.words import _mattered
from tests.fake_runs import D_WINS, write_run, write_sweep


@pytest.fixture(scope="module")
def html(sweep) -> str:
    return (sweep / "report.html").read_text(encoding="utf-8")


def text_of(html: str) -> str:
    """Return what a reader sees, in one line."""
    body = re.sub(r"<(script|style)\b.*?</\1>", " ", html[html.index("<body") :], flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))


def page_of(folder: Path, **kwargs) -> str:
    return text_of(write_report(folder, **kwargs).read_text(encoding="utf-8"))


def test_outcomes_and_the_best_row_are_summed_up(html) -> None:
    low, high = stats.t.interval(0.95, 1, loc=0.068, scale=stats.sem([0.067, 0.069]))
    text = text_of(html)
    assert "12 of 14 jobs completed, 1 failed, 1 pruned." in text
    assert f"gan_mode=hinge lr=4e-4 with 0.068 [{low:.3f}, {high:.3f}], mean and 95% interval over 2 runs." in text


def test_the_factor_that_mattered_most_is_named_with_its_share(html) -> None:
    # Sums of squares by hand, in units of 1e-6: means by gan_mode 82, 78, 69 and by lr 75 1/3, 77 1/3 (of 1e-3)
    mode = 4 * sum((mean - 229 / 3) ** 2 for mean in (82, 78, 69))
    lr = 6 * 2 * 1**2
    cells = 2 * sum((mean - 229 / 3) ** 2 for mean in (80, 84, 76, 80, 70, 68))
    total = cells + 12 * 1
    text = text_of(html)
    share = f"{mode / total:.0%} of the variance of val/l1; {12 / total:.1%} is unexplained"
    assert f"most important factor is gan_mode: {share}" in text
    assert f"gan_mode × lr {(cells - mode - lr) / total:.1%}" in text


NO_DIFFERENCE = "No setting has a significant effect on val/l1"


def write_values(folder: Path, values: dict[str, float]) -> Path:
    """Write a sweep whose jobs have these overrides and values of ``val/l1``."""
    for job, (overrides, value) in enumerate(values.items()):
        write_run(folder / str(job), overrides.split(), value, job=job)
    return folder


def test_where_only_seeds_differ_no_setting_made_a_difference(tmp_path) -> None:
    values = {f"gan_mode={mode} seed={s}": 0.08 + s / 100 for mode in ("vanilla", "lsgan", "hinge") for s in range(3)}
    text = page_of(write_values(tmp_path, values))
    assert NO_DIFFERENCE + " (smallest p 1)." in text and "most important" not in text


def test_a_difference_that_may_be_chance_is_not_what_mattered(tmp_path) -> None:
    vanilla, hinge = [0.080, 0.083, 0.079, 0.085], [0.081, 0.085, 0.078, 0.088]
    values = {
        f"gan_mode={m} seed={s}": v for m, own in (("vanilla", vanilla), ("hinge", hinge)) for s, v in enumerate(own)
    }
    p = stats.ttest_rel(vanilla, hinge).pvalue
    assert p > 0.1
    text = page_of(write_values(tmp_path, values))
    assert f"{NO_DIFFERENCE} (smallest p {p:.2g})." in text and "most important" not in text


def test_equal_values_are_said_to_be_equal(tmp_path) -> None:
    text = page_of(write_values(tmp_path, {f"gan_mode={mode}": 0.08 for mode in ("vanilla", "lsgan", "hinge")}))
    assert "No setting has an effect: val/l1 is the same in all runs." in text


def test_single_runs_do_not_tell_what_is_chance(tmp_path) -> None:
    text = page_of(write_values(tmp_path, {"gan_mode=vanilla": 0.08, "gan_mode=lsgan": 0.07, "gan_mode=hinge": 0.09}))
    assert "Without several seeds, differences may be due to chance." in text
    assert (
        "gan_mode has the largest share of the variance of val/l1, 100%; without residual degrees of freedom, "
        "its significance is unknown." in text
    )
    assert "most important" not in text


def test_what_mattered_most_is_the_largest_share_that_passes_at_five_percent_for_all_terms_together() -> None:
    a, b, both = Share(("a",), 0.4, 8, 0.02), Share(("b",), 0.2, 1, 0.01), Share(("a", "b"), 0.1, 8, 0.9)
    told = _mattered(Decomposition((a, b, both), 0.3, True), "val/l1")
    assert (
        told == "The most important factor is b: 20% of the variance of val/l1; 30% is unexplained."
    )  # 0.02 x 3 > 0.05
    told = _mattered(Decomposition((a, both), 0.5, True), "val/l1")
    assert told == "The most important factor is a: 40% of the variance of val/l1; 50% is unexplained."
    told = _mattered(Decomposition((a, both, both), 0.4, True), "val/l1")
    assert told == NO_DIFFERENCE + " (smallest p 0.02 of 3 terms)."


def test_rows_differ_in_more_than_their_seed_and_the_best_is_first(sweep) -> None:
    configurations, design = arrange(read_runs(sweep), "val/l1")
    assert [one.label for one in configurations[:2]] == ["gan_mode=hinge lr=4e-4", "gan_mode=hinge lr=1e-4"]
    assert [len(one.values) for one in configurations] == [2, 2, 2, 2, 2, 2, 0, 0]
    assert [factor.key for factor in design.factors] == ["gan_mode", "lr"]  # betas: typed once, but the others' too


def test_higher_is_better_where_it_is(sweep) -> None:
    configurations, _ = arrange(read_runs(sweep), "val/psnr")
    assert configurations[0].label == "gan_mode=hinge lr=4e-4" and configurations[0].mean > configurations[1].mean
    assert not lower_is_better("val/raw_psnr") and lower_is_better("val/raw_l1") and lower_is_better("val/fid")


def test_the_command_of_a_row_is_its_overrides_as_a_shell_takes_them(html, tmp_path) -> None:
    assert "python train.py data=scenes image_size=64 gan_mode=hinge lr=4e-4 seed=0" in text_of(html)
    run = write_run(tmp_path / "run", ["betas=[0.5,0.999]", "data.root=my photos"])
    assert read_runs(run)[0].command == "python train.py 'betas=[0.5,0.999]' 'data.root=my photos'"
    job = write_run(tmp_path / "job", ["sweep=optuna", "lr=1e-4", "ckpt_path=last"])
    assert read_runs(job)[0].command == "python train.py lr=1e-4"


def test_levels_stand_with_their_paired_differences(html) -> None:
    # lr=4e-4 less lr=1e-4, by gan_mode and seed: 4, 4, 4, 4, -2, -2 (of 1e-3)
    differences = [0.004] * 4 + [-0.002] * 2
    low, high = stats.t.interval(0.95, 5, loc=np.mean(differences), scale=stats.sem(differences))
    assert f"+0.0020 [{low:.4f}, {high:.4f}] 6".replace("-", "−") in text_of(html)


def test_failures_say_why_and_how_to_run_them_again(html) -> None:
    text = text_of(html)
    assert "12 failed gan_mode=wgan-gp lr=1e-4 seed=0; val/l1 was last " in text
    assert "loss_D is nan at epoch 1, batch 50: try a lower &lt;b&gt;lr&lt;/b&gt; python train.py" in text
    assert "13 pruned diverging" in text and "2 completed D wins" in text
    assert D_WINS.replace("<", "&lt;").replace(">", "&gt;") in text


def test_what_a_run_says_is_text_and_not_markup(html) -> None:
    assert "try a lower &lt;b&gt;lr&lt;/b&gt;" in html and "<b>lr</b>" not in html


def test_states_cost_and_provenance(html) -> None:
    text = text_of(html)
    assert "healthy 50%, D wins 50%" in text and "3 of 14 did not end healthy" in text
    assert "total 14 22 min" in text  # 12 x 90 s, and 112 and 113 s by job.json alone
    assert "commit 0123456789abcdef" in text and "torch 2.9.0" in text and "1.0 GiB" in text


def test_samples_are_columns_of_the_same_images(sweep, html) -> None:
    (strips,) = re.findall(r'<div class="scroller strips".*?</div>', html, re.DOTALL)
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", strips)
    assert captions[:3] == ["grey", "real", "gan_mode=hinge lr=4e-4"] and len(captions) == 2 + 8
    assert strips.count("data:image/webp;base64,") == 10


def test_a_grid_comes_apart_into_the_pictures_it_was_made_of() -> None:
    pictures = torch.randint(0, 256, (3, 2, 3, 128, 128), dtype=torch.uint8)
    columns = columns_of(picture_grid(dict(zip(VERSIONS, pictures, strict=True))), VERSIONS)
    for name, expected in zip(VERSIONS, pictures, strict=True):
        found = np.asarray(columns[name])
        assert np.array_equal(found[:128], expected[0].permute(1, 2, 0))
        assert np.array_equal(found[132:], expected[1].permute(1, 2, 0))
    with pytest.raises(ValueError, match="a picture of 101x50 is not a grid with 3 columns"):
        columns_of(Image.new("RGB", (101, 50)), VERSIONS)


def test_the_score_of_all_images_after_the_last_epoch_is_no_point_of_the_curve(html) -> None:
    (figure,) = re.findall(r'id="curve-1-1">(.*?)</script>', html, re.DOTALL)
    lines = [trace for trace in json.loads(figure)["data"] if "lines" in trace["mode"]]
    values = [np.frombuffer(base64.b64decode(line["y"]["bdata"]), line["y"]["dtype"]) for line in lines]
    assert len(values) == 14 and {len(line) for line in values} == {5}
    assert max(line.max() for line in values) < 0.2  # the last row of metrics.csv has over 0.5


def test_thinning_keeps_ends_order_and_spikes() -> None:
    x, y = np.arange(10_000), np.sin(np.arange(10_000.0))
    y[1234], y[5678] = 50, -50
    few_x, few_y = thin(x, y)
    assert len(few_x) <= 400 and (np.diff(few_x) > 0).all()
    assert few_y.max() == 50 and few_y.min() == -50 and np.array_equal(y[few_x], few_y)
    assert few_x[0] < 50 and few_x[-1] > 9950


def test_many_runs_make_a_page_of_moderate_size(tmp_path) -> None:
    write_run(tmp_path / "0", ["seed=0"], job=0, epochs=200)  # 1,600 rows
    for number in range(1, 50):
        shutil.copytree(tmp_path / "0", tmp_path / str(number))
        record = {"job": number, "overrides": [f"lr={number + 1}e-4", "seed=0"], "status": "completed"}
        (tmp_path / str(number) / "job.json").write_text(json.dumps(record))
    page = write_report(tmp_path)
    assert page.stat().st_size < 12_000_000  # of which plotly is 5
    assert "lr over lr" not in page.read_text("utf-8") and "val/l1 over lr" in page.read_text("utf-8")  # a scatter


def test_a_folder_of_runs_and_sweeps_is_one_report(tmp_path) -> None:
    write_sweep(tmp_path / "multirun/day/time")
    write_run(tmp_path / "outputs/day/time", ["gan_mode=hinge", "lr=1e-3"])
    assert "13 of 13 jobs completed" in page_of(tmp_path)


def test_one_run_is_a_page(tmp_path) -> None:
    text = page_of(write_run(tmp_path / "run", ["gan_mode=hinge"], value=0.0712, state="colour collapse"))
    assert "One run, completed. val/l1 is 0.07120, of a single run." in text
    assert "Effect of each factor" not in text and "healthy 50%, colour collapse 50%" in text


def test_a_state_that_was_rolled_back_from_is_over(tmp_path) -> None:
    run = write_run(tmp_path, ["lr=0.1"], status="failed", state="diverging")
    states = run / "states.csv"
    shaded = lambda run: '"shapes":[{' in write_report(run).read_text()  # noqa: E731
    assert read_runs(run)[0].state == "diverging" and shaded(run)
    states.write_text(states.read_text().replace("warned", "rolled back to batch 0, lr_G x 0.25 (try 1 of 4)"))
    assert read_runs(run)[0].state == "healthy" and not shaded(run)


def damage_nothing_left(run: Path) -> None:
    for name in ("metrics.csv", "states.csv", "summary.json", ".hydra", "samples"):
        path = run / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def damage_torn(run: Path) -> None:
    for name in (
        "metrics.csv",
        "states.csv",
        "summary.json",
        "job.json",
        ".hydra/config.yaml",
        ".hydra/overrides.yaml",
    ):
        content = (run / name).read_bytes()
        (run / name).write_bytes(content[: len(content) * 2 // 3])
    picture = next(run.glob("samples/*.png"))
    picture.write_bytes(picture.read_bytes()[:200])


def damage_empty(run: Path) -> None:
    for path in run.rglob("*"):
        if path.is_file() and path.name != "job.json":
            path.write_text("")


def damage_other_kinds(run: Path) -> None:
    (run / "job.json").write_text('{"job": 0, "status": null, "overrides": null, "seconds": "long"}')
    (run / "summary.json").write_text(
        '{"metrics": [], "states": 3, "versions": 1, "epochs": "many", "rollbacks": null}'
    )
    (run / "metrics.csv").write_text("step,val/l1,diag/state\nnan,1\n3,inf,99\n4,,,,,\n\0\n5,0.1,7\n")
    (run / "states.csv").write_text("epoch,batch,state\n0,1,no state\n0,2,D wins\n")
    (run / ".hydra/config.yaml").write_text("- a list")
    (run / ".hydra/overrides.yaml").write_text("{a: ")


def damage_not_a_number(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    summary["metrics"]["val/l1"] = float("nan")
    (run / "summary.json").write_text(json.dumps(summary))
    (run / "metrics.csv").write_text("epoch,step,val/l1,train/loss_G\n0,4,nan,inf\n")


@pytest.mark.parametrize(
    "damage", [damage_nothing_left, damage_torn, damage_empty, damage_other_kinds, damage_not_a_number]
)
def test_a_damaged_run_shows_with_what_it_has(tmp_path, damage) -> None:
    write_run(tmp_path / "0", ["gan_mode=lsgan", "seed=0"], job=0)
    write_run(tmp_path / "1", ["gan_mode=hinge", "seed=0"], job=1)
    damage(tmp_path / "0")
    assert "of 2 jobs completed" in page_of(tmp_path)
    damage(tmp_path / "1")
    assert "of 2 jobs completed" in page_of(tmp_path)


def test_a_torn_file_gives_its_whole_rows(tmp_path) -> None:
    (tmp_path / "metrics.csv").write_text("epoch,step,val/l1,diag/state\n0,4,0.5,0\n1,9,nan,1\n1,14,0.4,1\n2,1")
    curves = read_curves(tmp_path / "metrics.csv")
    assert curves["val/l1"].batches.tolist() == [4, 14] and curves["val/l1"].values.tolist() == [0.5, 0.4]
    (tmp_path / "states.csv").write_text("epoch,batch,state,evidence,action\n0,4,D wins,because,warned\n1,9,hea")
    assert [change.state for change in read_changes(tmp_path / "states.csv")] == ["D wins"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["empty"],
            "no runs in empty: a run writes job.json, summary.json, metrics.csv, checkpoints; use a folder such as ",
        ),
        (["gone"], "no runs in gone: it is not a folder; use one such as "),
        (
            ["run", "--metric", "val/lpips_vgg"],
            "--metric val/lpips_vgg: no run has it; available metrics: val/colorfulness_abs, ",
        ),
        (["run", "--metric", "val/colorfulness"], "its better direction is unknown; use a metric such as "),
        (["run", "-o", "empty"], "--out empty is a folder; name a file such as empty/report.html"),
        (["run", "-o", "run/job/x.html"], "--out run/job/x.html cannot be written: "),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_page(tmp_path, monkeypatch, args, message) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    write_run(Path("run"), ["seed=0"])
    Path("run/job").touch()
    result = CliRunner().invoke(app, ["report", *args])
    assert result.exit_code == 2 and len(result.stderr.splitlines()) == 1 and message in result.stderr
    assert not list(tmp_path.rglob("*.html"))


def test_the_page_goes_where_it_is_asked_to(tmp_path) -> None:
    write_run(tmp_path / "run", ["seed=0"])
    result = CliRunner().invoke(app, ["report", str(tmp_path / "run"), "-o", str(tmp_path / "deep/page.html")])
    assert result.stdout == f"{tmp_path}/deep/page.html\n" and (tmp_path / "deep/page.html").exists()
    assert not (tmp_path / "run/report.html").exists()


@pytest.mark.parametrize("missing", ["plotly", "jinja2"])
def test_without_its_libraries_a_line_says_what_to_install(tmp_path, missing) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from colorize.cli import app; app(['report', '.'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr == missing_extra("the report needs plotly and jinja2", "report") + "\n"
    assert done.returncode == 2


@pytest.mark.slow
def test_a_run_that_was_trained_is_a_page(make_config, tmp_path) -> None:
    metrics = train(make_config("max_epochs=2"))
    text = page_of(tmp_path / "run")
    assert f"val/l1 is {metrics['val/l1']:#.4g}, of a single run." in text
    assert "Training losses by batch" in text and "Samples" in text


def test_the_metric_must_be_one_that_can_be_judged() -> None:
    with pytest.raises(UserError, match="its better direction is unknown"):
        lower_is_better("val/colorfulness_abs")


def write_two_data_sets(folder: Path) -> None:
    """Write runs of scenes and of coco, which lead by the smaller L1, and what a mistyped command once left."""
    for number, (data, value) in enumerate((("scenes", 0.05), ("scenes", 0.06), ("scenes", 0.07), ("coco", 0.02))):
        run = write_run(folder / f"day/{number}", [f"data={data}", f"lr={number + 1}e-4", "logger=csv"], value)
        config = run / ".hydra/config.yaml"
        config.write_text(json.dumps(json.loads(config.read_text()) | {"data": {"name": data, "num_val": 400}}))
    (folder / "day/mistyped/.hydra").mkdir(parents=True)
    (folder / "day/mistyped/.hydra/overrides.yaml").write_text('["lr=abc"]')
    (folder / "day/mistyped/train.log").touch()


def test_data_sets_are_ranked_apart(tmp_path) -> None:
    write_two_data_sets(tmp_path)
    html = write_report(tmp_path).read_text()
    text = text_of(html)
    assert "data.name=scenes , 3 runs" in text and "data.name=coco , 1 runs" in text
    assert "Best configuration by val/l1 (lowest): lr=1e-4 with 0.05000" in text
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))


def test_what_never_trained_is_no_run(tmp_path) -> None:
    write_two_data_sets(tmp_path)
    assert [run.path.name for run in read_runs(tmp_path)] == ["0", "1", "2", "3"]


def test_a_run_whose_config_is_lost_stands_with_the_most_runs(tmp_path) -> None:
    write_two_data_sets(tmp_path)
    (tmp_path / "day/0/.hydra/config.yaml").unlink()
    (tmp_path / "day/1/.hydra/config.yaml").write_text("{}")
    write_run(tmp_path / "day/4", ["data=scenes"], 0.05)
    sets = by_data_set(read_runs(tmp_path))
    assert sorted(len(runs) for _, runs in sets) == [1, 4]


def test_keys_that_a_configuration_does_not_set_are_left_out_of_its_name(tmp_path) -> None:
    write_run(tmp_path / "0", ["experiment=demo", "lr=1e-4"])
    write_run(tmp_path / "1", ["lr=4e-4", "logger=csv"])
    configurations, _ = arrange(read_runs(tmp_path), "val/l1")
    assert {one.label for one in configurations} == {"experiment=demo lr=1e-4", "lr=4e-4"}

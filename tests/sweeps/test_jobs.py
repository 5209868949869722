"""Sweeps: which jobs are skipped, repeated or refused, and the contents of the tables."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import scipy.stats
from filelock import FileLock
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from colorize.sweeps.callback import _grid, _print_ranking
from colorize.sweeps.jobs import remove_unused
from colorize.sweeps.table import LOCK, interval, over_seeds, read_jobs
from tests.conftest import ROOT, SMALL
from tests.sweeping import APP, CONFIG, environment, ran, rows, sweep


def test_the_directory_of_a_mistake_goes_with_its_date_but_no_other(tmp_path) -> None:
    for name in ("2026-01-02/10-00-00", "2026-01-02/11-00-00", "2026-01-03/10-00-00"):
        (tmp_path / "outputs" / name / ".hydra").mkdir(parents=True)
        (tmp_path / "outputs" / name / "train.log").touch()
    kept = tmp_path / "outputs/2026-01-02/11-00-00/metrics.csv"
    kept.touch()
    for run in sorted((tmp_path / "outputs").glob("*/*")):
        remove_unused(run, {".hydra", "train.log"})
    assert sorted(tmp_path.rglob("*.*")) == sorted([kept, kept.with_name("train.log"), kept.with_name(".hydra")])
    assert not (tmp_path / "outputs/2026-01-03").exists()


@pytest.mark.parametrize(
    "overrides",
    [["x=1,2", "y=3", "z=range(3)"], ["x=1,2", "x=3,4"], ["lr=1,2"], ["loss=glob(*)"], [], ["x='a,b',\"c=d\"", "~y"]],
    ids=" ".join,
)
def test_the_jobs_that_are_checked_are_those_that_hydra_runs(overrides) -> None:
    sweeper = {"_target_": f"{BasicSweeper.__module__}.BasicSweeper", "params": {"seed": "1,2", "lr": "3,4"}}
    config = OmegaConf.create({"hydra": {"sweeper": sweeper, "overrides": {"task": overrides}}})
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        parser = OverridesParser.create(GlobalHydra.instance().config_loader())
        given = parser.parse_overrides(["seed=1,2", "lr=3,4", *overrides])
        assert _grid(config) == BasicSweeper.split_arguments(given, None)[0]


def test_finished_jobs_are_skipped_and_failed_ones_run_again(tmp_path) -> None:
    assert sweep(tmp_path, "+x=1,2,3", do="assert cfg.x != 2").returncode == 1
    assert [job["status"] for job in read_jobs(tmp_path / "sweep")] == ["completed", "failed", "completed"]
    again = sweep(tmp_path, "+x=1,2,3")
    assert again.returncode == 0, again.stderr
    assert ran(tmp_path) == ["1", "2", "3", "2"]
    assert [job["value"] for job in read_jobs(tmp_path / "sweep")] == [1, 0, 1]


def test_a_killed_job_goes_on_from_its_last_checkpoint(tmp_path) -> None:
    save = "os.mkdir(folder / 'checkpoints'); (folder / 'checkpoints/last.ckpt').touch(); "
    assert (
        sweep(tmp_path, "+x=1,2,3", do=f"if cfg.x == 2: {save} os.kill(os.getpid(), 9)").returncode == -signal.SIGKILL
    )
    assert [job["status"] for job in read_jobs(tmp_path / "sweep")] == ["completed", "interrupted"]
    assert sweep(tmp_path, "+x=1,2,3").returncode == 0
    assert ran(tmp_path) == ["1", "2", "2 from last.ckpt", "3"]


def test_a_job_that_holds_its_lock_is_running(tmp_path) -> None:
    sweep(tmp_path, "+x=1")
    record = tmp_path / "sweep/0/job.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"status": "running"}))
    with FileLock(record.with_name(LOCK)):
        assert read_jobs(tmp_path / "sweep")[0]["status"] == "running"
    assert read_jobs(tmp_path / "sweep")[0]["status"] == "interrupted"


def test_who_waits_for_a_job_finds_it_done(tmp_path) -> None:
    words = [*APP, *CONFIG, "+x=1"]
    first = subprocess.Popen(words, cwd=tmp_path, env=environment("import time; time.sleep(3)"))
    while not (tmp_path / "ran").exists():
        time.sleep(0.01)
    second = sweep(tmp_path, "+x=1")
    assert first.wait(30) == 0 and second.returncode == 0, second.stderr
    assert "another process runs this job; waiting" in second.stdout
    assert ran(tmp_path) == ["1"]


def test_another_sweep_in_the_same_directory_is_refused_and_nothing_is_overwritten(tmp_path) -> None:
    sweep(tmp_path, "+x=1,2")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "sweep").rglob("*")}
    refused = sweep(tmp_path, "+x=1,3")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == "sweep/1 holds a job with +x=2, not +x=3: choose another hydra.sweep.dir\n"
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "sweep").rglob("*")} == before


def test_further_values_of_the_first_axis_add_jobs(tmp_path) -> None:
    sweep(tmp_path, "+x=1,2")
    assert sweep(tmp_path, "+x=1,2,3").returncode == 0
    assert ran(tmp_path) == ["1", "2", "3"]


def test_a_pruned_job_is_no_failure_and_does_not_run_again(tmp_path) -> None:
    prune = "from colorize.sweeps.jobs import PrunedError\nif cfg.x == 2: raise PrunedError(0.5)"
    result = sweep(tmp_path, "+x=1,2", do=prune)
    assert result.returncode == 0 and "1 of 2 jobs completed, 1 pruned" in result.stdout
    assert [row["status"] for row in rows(tmp_path / "sweep/sweep.csv")] == ["completed", "pruned"]
    sweep(tmp_path, "+x=1,2")
    assert ran(tmp_path) == ["1", "2"]


def test_jobs_that_differ_in_seed_become_one_row(tmp_path) -> None:
    result = sweep(tmp_path, "+x=1,5", "+seed=0,1,2")
    assert result.returncode == 0, result.stderr
    near, far = rows(tmp_path / "sweep/seeds.csv")
    low, high = scipy.stats.t.interval(0.95, 2, 2, scipy.stats.sem([1, 2, 3]))
    assert (near["x"], near["n"], near["val/l1"], far["val/l1"]) == ("1", "3", "2.0", "10.0")
    assert (float(near["val/l1 low"]), float(near["val/l1 high"])) == pytest.approx((low, high))
    assert "seed" not in near
    ranking = [line for line in result.stdout.splitlines() if "x=" in line and "│" in line]
    assert [line.split()[1] for line in ranking] == ["x=1", "x=5"]


@pytest.mark.parametrize(("metric", "first"), [("val/l1", "x=1"), ("val/psnr", "x=3")])
def test_the_ranking_begins_with_the_best(capsys, metric, first) -> None:
    groups = [
        {"choices": {"x": str(x)}, "jobs": [{}], "metrics": {metric: (float(x), x - 0.5, x + 0.5)}} for x in (3, 1, 2)
    ]
    _print_ranking(groups, metric)
    assert next(line for line in capsys.readouterr().out.splitlines() if "x=" in line).split()[1] == first


def test_without_seeds_there_is_no_table_of_seeds(tmp_path) -> None:
    assert "Mean over seeds" not in sweep(tmp_path, "+x=1,2").stdout
    assert not (tmp_path / "sweep/seeds.csv").exists()


@pytest.mark.parametrize("level", [0.95, 0.5])
@pytest.mark.parametrize("n", [2, 3, 10])
def test_interval_is_students(n, level) -> None:
    values = np.random.default_rng(n).normal(3, 2, n)
    mean, low, high = interval(values.tolist(), level)
    assert mean == pytest.approx(values.mean())
    assert (low, high) == pytest.approx(scipy.stats.t.interval(level, n - 1, values.mean(), scipy.stats.sem(values)))


def test_one_value_has_no_interval() -> None:
    mean, low, high = interval([3.0])
    assert mean == 3 and np.isnan([low, high]).all()


def test_only_completed_jobs_count_in_a_mean() -> None:
    jobs = [
        {"status": "completed", "choices": {"lr": "1", "seed": "0"}, "metrics": {"val/l1": 1.0, "val/ssim": 0.5}},
        {"status": "failed", "choices": {"lr": "1", "seed": "1"}, "metrics": {}},
        {"status": "completed", "choices": {"lr": "1", "seed": "2"}, "metrics": {"val/l1": 2.0}},
    ]
    (group,) = over_seeds(jobs)
    assert (group["choices"], group["seeds"], group["metrics"]["val/l1"][0]) == ({"lr": "1"}, ["0", "2"], 1.5)
    assert set(group["metrics"]) == {"val/l1"}  # the other is not known of all


@pytest.mark.parametrize(("name", "count"), [("core_grid", 30), ("stabilizers", 21), ("ttur", 15)])
def test_every_job_of_a_named_sweep_composes(name, count) -> None:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        params = compose("train", [f"sweep={name}"], return_hydra_config=True).hydra.sweeper.params
        given = OverridesParser.create().parse_overrides([f"{key}={value}" for key, value in params.items()])
        jobs = BasicSweeper.split_arguments(given, None)[0]
        for job in jobs:
            compose("train", [f"sweep={name}", *job])
    assert len(jobs) == count


def test_the_sweep_of_stabilizers_has_them_all() -> None:
    listed = (ROOT / "conf/sweep/stabilizers.yaml").read_text()
    assert not [path.stem for path in (ROOT / "conf/stabilizer").glob("*.yaml") if f"[{path.stem}]" not in listed]


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "conf/stabilizer").glob("*.yaml")))
def test_every_stabilizer_changes_the_reports_recipe(name) -> None:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        recipe = compose("train", ["experiment=report"])
        assert compose("train", ["experiment=report", f"stabilizer=[{name}]"]) != recipe


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_a_sweep_killed_three_times_ends_with_every_job_run_once(tmp_path, photos, launcher) -> None:
    """SIGKILL to the program; joblib's workers outlive it, and meet those of the next one."""
    options = [f"hydra/launcher={launcher}"] + ["hydra.launcher.n_jobs=2"] * (launcher == "joblib")
    axes = ["lr=1e-4,2e-4", "betas=[0.5,0.999],[0.0,0.99]", "seed=0,1,2", "max_epochs=4"]
    where = [f"data.root={photos}", f"data.store_dir={photos.parent / 'stores'}", "hydra.sweep.dir=sweep"]
    words = [sys.executable, str(ROOT / "train.py"), "-m", *SMALL, *where, *axes, *options]
    draw, started = random.Random(0), []

    def start() -> subprocess.Popen:
        with (tmp_path / "log").open("a") as log:
            process = subprocess.Popen(
                words, cwd=tmp_path, env=environment(), stdout=log, stderr=log, start_new_session=True
            )
        started.append(process)
        return process

    def completed() -> int:
        return sum(job["status"] == "completed" for job in read_jobs(tmp_path / "sweep"))

    try:
        for _ in range(3):
            process, before = start(), completed()
            while completed() == before:
                assert process.poll() is None, (tmp_path / "log").read_text()
                time.sleep(0.02)
            time.sleep(draw.uniform(0, 2))
            process.kill()
            process.wait()
        assert completed() < 12
        assert start().wait(300) == 0, (tmp_path / "log").read_text()
    finally:
        for process in started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # workers that were left behind
    assert completed() == 12
    for job in read_jobs(tmp_path / "sweep"):
        assert (job["folder"] / "train.log").read_text().count("results in") == 1
        steps = [int(row["step"]) for row in rows(job["folder"] / "metrics.csv")]
        assert steps == list(range(20))  # 4 epochs of 5 batches

"""Launchers: sweeps in several processes, shared files, and lost or requeued jobs."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import MissingConfigException
from omegaconf import OmegaConf

from colorize.base.errors import missing_extra
from colorize.console import in_one_line
from colorize.sweeps.requeue import WARNING, saving_first
from colorize.sweeps.table import read_jobs
from tests.conftest import ROOT, SMALL
from tests.sweeping import environment, ran, rows, sweep

JOBLIB = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local", "submitit_slurm", "slurm", "ray"])
def test_every_launcher_composes(launcher) -> None:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        hydra = compose("train", [f"hydra/launcher={launcher}"], return_hydra_config=True).hydra
    assert OmegaConf.to_container(hydra.launcher, resolve=True)["_target_"].endswith("Launcher")


def test_slurm_has_one_gpu_for_a_run_and_turns_enough() -> None:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        overrides = ["hydra/launcher=slurm", "hydra.launcher.partition=gpu"]
        launcher = compose("train", overrides, return_hydra_config=True).hydra.launcher
    assert launcher._target_.endswith("SlurmLauncher")
    assert (launcher.partition, launcher.gpus_per_node, launcher.max_num_timeout) == ("gpu", 1, 20)


def test_a_launcher_that_is_not_installed_names_its_extra() -> None:
    error = MissingConfigException("In 'hydra/config': Could not find 'hydra/launcher/submitit_slurm'\n\nAvailable ...")
    assert in_one_line(error) == missing_extra("hydra/launcher=submitit_slurm is not installed", "sweep")


def train(tmp_path: Path, photos: Path, *words: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "train.py"), "-m", *SMALL, f"data.root={photos}", "data.store_dir=stores"]
    jobs = ["max_epochs=1", "gan_mode=vanilla,lsgan", "hydra.sweep.dir=sweep", *words]
    return subprocess.run([*command, *jobs], cwd=tmp_path, env=environment(), capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [JOBLIB, ["hydra/launcher=submitit_local"]], ids=["joblib", "submitit_local"])
def test_jobs_of_several_processes_share_one_image_store(tmp_path, photos, launcher) -> None:
    result = train(tmp_path, photos, *launcher)
    assert result.returncode == 0, result.stderr
    assert [row["status"] for row in rows(tmp_path / "sweep/sweep.csv")] == ["completed"] * 2
    assert all(job["metrics"]["val/l1"] > 0 for job in read_jobs(tmp_path / "sweep"))
    assert len([path for path in (tmp_path / "stores").iterdir() if path.is_dir()]) == 1
    assert "Warning" not in result.stderr


def test_a_failing_job_does_not_stop_others_of_joblib(tmp_path) -> None:
    assert sweep(tmp_path, "+x=1,2,3", *JOBLIB, do="assert cfg.x != 2").returncode == 1
    assert [job["status"] for job in read_jobs(tmp_path / "sweep")] == ["completed", "failed", "completed"]


def test_a_worker_that_is_killed_is_one_line_and_the_sweep_goes_on(tmp_path) -> None:
    lost = sweep(tmp_path, "+x=1,2", *JOBLIB, do="if cfg.x == 2: os.kill(os.getpid(), 9)")
    assert (lost.returncode, lost.stderr.count("\n")) == (2, 1)
    assert "a launcher lost a job" in lost.stderr and "run the same command" in lost.stderr
    assert read_jobs(tmp_path / "sweep")[-1]["status"] == "interrupted"  # job 0 may not have begun
    assert sweep(tmp_path, "+x=1,2", *JOBLIB).returncode == 0
    assert [job["status"] for job in read_jobs(tmp_path / "sweep")] == ["completed"] * 2


def test_sigterm_in_a_job_ends_the_sweep_with_its_status(tmp_path) -> None:
    assert sweep(tmp_path, "+x=1,2", do="raise SystemExit(143)").returncode == 143
    assert [job["status"] for job in read_jobs(tmp_path / "sweep")] == ["interrupted"]
    assert ran(tmp_path) == ["1"]


@pytest.fixture
def happened(monkeypatch):
    """Note in which order signals are answered: submitit's requeue, and training's save."""
    events: list[str] = []
    before = (
        signal.signal(WARNING, lambda *_: events.append("requeued")),
        signal.signal(signal.SIGTERM, lambda *_: None),
    )
    yield events
    signal.signal(WARNING, before[0])
    signal.signal(signal.SIGTERM, before[1])


def test_training_saves_before_slurm_requeues_it(happened) -> None:
    with pytest.raises(SystemExit), saving_first():
        signal.signal(signal.SIGTERM, lambda *_: happened.append("saving"))
        signal.raise_signal(WARNING)
        happened.append("left")
        raise SystemExit(143)
    assert happened == ["saving", "left", "requeued"]


def test_before_training_a_job_is_requeued_at_once(happened) -> None:
    with saving_first():
        signal.raise_signal(WARNING)
        assert happened == ["requeued"]


def test_without_submitit_the_signal_is_left_alone() -> None:
    with saving_first():
        assert signal.getsignal(WARNING) == signal.SIG_DFL
